// One picture: the image, its window, and the overlay upon it.

import { Refusal, ask, query } from "./api.js";
import { $, calmly, h, offer, say } from "./dom.js";
import { Overlay } from "./overlay.js";
import { figure } from "./words.js";

const SIDE = 1024;
const LEVELS = 65535;
const STEPS = 1000; // of a slider
const LARGE = 413;
const AHEAD = 8; // pictures that are kept for the way on
const CALM = 150; // ms after the last slice or movement, before more is asked for

const [level, width] = ["level", "width"].map($);
const layers = $("layers");

/** Gray shades, as RGBA in one number, of 16-bit numbers that stand for low to high. */
const shadesOf = ({ low, high, inverted }, [black, white]) => {
  const bytes = new Uint8ClampedArray(4 * (LEVELS + 1));
  for (let number = 0; number <= LEVELS; number++) {
    const value = low + (number / LEVELS) * (high - low);
    const share = (value - black) / (white - black);
    bytes.fill(255 * (inverted ? 1 - share : share), 4 * number, 4 * number + 3);
    bytes[4 * number + 3] = 255;
  }
  return new Uint32Array(bytes.buffer);
};

/** `windowed(window)` is called when the window was moved, `failed(error)` on trouble. */
export class Picture {
  constructor({ windowed, failed }) {
    Object.assign(this, { windowed, failed });
    this.asking = new AbortController();
    this.range = null;
    this.inverted = false;
    this.overlay = new Overlay({ again: (image, givenUp) => this.again(image, givenUp), changed: () => this.describe() });
    this.ahead = new Map(); // by address
    for (const slider of [level, width]) {
      slider.addEventListener("input", () => this.follow());
      slider.addEventListener("keydown", (event) => this.byKey(event, slider));
    }
    $("preset").addEventListener("change", () => this.choose(Number($("preset").value)));
    this.fetchLater = calmly(200, () => this.fetchPicture());
    this.layLater = calmly(CALM, () => this.overlay.lay());
    this.tellLater = calmly(CALM, () => this.windowed(this.moved ? this.window : null));
  }

  /** Show an image or a slice; a slice keeps the window of the one before it, which stays until it has come. */
  show({ id, model, version, part, name, range, size, hasOverlay }, keep) {
    this.asking.abort();
    this.asking = new AbortController();
    const { signal } = this.asking;
    this.source = { id, model, part, name, size };
    this.samples = this.canvas = null;
    this.withoutSamples = this.whole = false;
    const window = keep && this.range && this.moved ? this.window : null;
    this.range = range;
    const address = this.address(part, window);
    this.image = this.ahead.get(address) || h("img", { src: address, draggable: "false" });
    this.image.alt = name;
    const put = () => {
      const shown = this.canvas || this.image;
      if (signal.aborted || shown.parentNode === layers) return;
      layers.replaceChildren(shown);
      this.layLater();
    };
    this.image.addEventListener("error", ({ target }) => this.again(target, () => this.gone(target)).then(put), { once: true });
    if (!keep || !layers.firstChild || this.image.complete) put();
    else this.image.addEventListener("load", put, { once: true });
    this.overlay.of(hasOverlay ? query({ model, part, side: SIDE, version, alone: true }) : null, id);
    if (!keep) this.overlay.lay();
    offer(".of-window", Boolean(range));
    if (!range) return;
    if (!keep) this.offerWindows();
    this.setUp();
    this.setWindow(window || range.window);
    if (!window) this.moved = false;
  }

  address(part, window) {
    const { id, model, size } = this.source;
    const [low, high] = window || [];
    const side = this.whole && size ? null : SIDE;
    return `api/images/${id}/picture${query({ model, part, side, low, high })}`;
  }

  /** Have the slices at hand that are likely next. */
  prepare(parts) {
    const window = this.moved ? this.window : null;
    for (const part of parts) {
      const address = this.address(part, window);
      if (this.ahead.has(address)) continue;
      this.ahead.set(address, h("img", { src: address, draggable: "false" }));
      this.ahead.get(address).addEventListener("error", () => this.ahead.delete(address), { once: true });
    }
    while (this.ahead.size > AHEAD) this.ahead.delete(this.ahead.keys().next().value);
  }

  clear() {
    this.asking.abort();
    this.range = null;
    this.inverted = this.moved = false;
    this.ahead.clear();
    layers.replaceChildren();
    this.overlay.of(null);
    this.mirror();
    offer(".of-window", false);
  }

  /** Ask again for a picture that did not come: the service may have been busy. */
  async again(image, givenUp) {
    const { signal } = this.asking;
    try {
      const answer = await ask("GET", image.getAttribute("src"), { signal, as: "answer" });
      image.src = URL.createObjectURL(await answer.blob());
      image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
    } catch {
      if (!signal.aborted) givenUp();
    }
  }

  gone(image) {
    if (!image.parentNode) layers.replaceChildren(image);
    this.image = h("p", { class: "gone" }, "The picture cannot be shown.");
    image.replaceWith(this.image);
  }

  describe() {
    const shown = this.canvas || this.image;
    const inverted = this.inverted ? ", inverted" : "";
    const overlay = this.overlay.seen ? ", with overlay" : "";
    const text = this.source.name + inverted + overlay;
    if (shown instanceof HTMLImageElement) shown.alt = text;
    else if (shown instanceof HTMLCanvasElement) shown.setAttribute("aria-label", text);
  }

  invert() {
    if (!layers.firstChild) return;
    this.inverted = !this.inverted;
    this.mirror();
    this.describe();
    say(this.inverted ? "Inverted." : "Not inverted.");
  }

  mirror() {
    $("invert").setAttribute("aria-pressed", String(this.inverted));
    $("panes").classList.toggle("inverted", this.inverted);
  }

  // Window and level

  offerWindows() {
    const options = this.range.windows.map(({ name }, at) => h("option", { value: at }, at < 9 ? `${at + 1} ${name}` : name));
    $("preset").replaceChildren(h("option", { value: -1, hidden: true }, "Own window"), ...options);
  }

  /** Take a window from the list, by its place in it. */
  choose(at) {
    const chosen = this.range?.windows[at];
    if (!chosen) return false;
    if (at === 0) this.reset();
    else this.take([chosen.low, chosen.high]);
    say(`${chosen.name}.`);
    return true;
  }

  setUp() {
    const { low, high, window, windows } = this.range;
    const least = Math.min(low, window[0], ...windows.map((one) => one.low));
    const most = Math.max(high, window[1], ...windows.map((one) => one.high));
    const span = most - least || 1;
    const whole = Number.isInteger(low) && Number.isInteger(high) && span > STEPS;
    this.unit = whole ? Math.max(1, Math.round(span / STEPS)) : span / STEPS;
    Object.assign(level, { min: least, max: most, step: "any" });
    Object.assign(width, { min: Math.min(this.unit, ...windows.map((one) => one.high - one.low)), max: span, step: "any" });
  }

  get window() {
    return [this.middle - this.wide / 2, this.middle + this.wide / 2];
  }

  setWindow([black, white]) {
    this.adjust((black + white) / 2, white - black);
  }

  adjust(middle, wide) {
    const within = (value, slider) => Math.min(Math.max(value, Number(slider.min)), Number(slider.max));
    this.middle = within(middle, level);
    this.wide = within(wide, width);
    const [black, white] = this.window;
    const near = (one, other) => Math.abs(one - other) <= 1e-6 * this.wide;
    const at = this.windows.findIndex(([low, high]) => near(low, black) && near(high, white));
    $("preset").value = at;
    // A window of the list is told as its file or its users name it, which may differ by half a value.
    const named = this.range.windows[at];
    const told = named ? [(named.low + named.high) / 2, named.high - named.low] : [this.middle, this.wide];
    [level, width].forEach((slider, which) => {
      slider.value = [this.middle, this.wide][which];
      slider.nextElementSibling.textContent = figure(told[which]);
      slider.setAttribute("aria-valuetext", figure(told[which]));
    });
    const unit = this.range.unit ? ` ${this.range.unit}` : "";
    $("window-says").textContent = `L ${figure(told[0])} W ${figure(told[1])}${unit}`;
  }

  /** The ends of the windows of the list; the first is the one in which the service draws. */
  get windows() {
    return this.range.windows.map(({ low, high }, at) => (at ? [low, high] : this.range.window));
  }

  follow() {
    this.adjust(Number(level.value), Number(width.value));
    this.draw();
  }

  reset() {
    if (!this.range) return;
    this.take(this.range.window);
    this.moved = false;
  }

  /** Take over a window at once: what has no samples here is drawn by the service, sooner than they would come. */
  take(window) {
    this.setWindow(window);
    if (this.samples) return this.draw();
    this.moved = true;
    this.tellLater();
    this.fetchPicture();
  }

  /** What a drag does: sideways the width, up and down the level. */
  windowing(event) {
    if (!this.range) return null;
    const from = { x: event.clientX, y: event.clientY, middle: this.middle, wide: this.wide };
    const across = Number(width.max) / 400; // of the values, over so many pixels
    return {
      move: ({ clientX, clientY }) => {
        this.adjust(from.middle + (clientY - from.y) * across, from.wide + (clientX - from.x) * across);
        this.draw();
      },
    };
  }

  byKey(event, slider) {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -20, PageUp: 20 }[event.key];
    if (!by) return;
    event.preventDefault();
    slider.value = Number(slider.value) + by * 5 * this.unit;
    this.follow();
  }

  /** Draw at the next frame. */
  draw() {
    this.moved = true;
    this.tellLater();
    if (this.withoutSamples) return this.fetchLater();
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      this.paint();
    });
  }

  async paint() {
    if (!this.samples) {
      if (!this.fetching) await this.fetchSamples();
      if (!this.samples) return;
    }
    const { width: columns, height: rows, numbers } = this.samples;
    if (!this.canvas) {
      this.canvas = h("canvas", { width: columns, height: rows, role: "img" });
      this.image.replaceWith(this.canvas);
      this.describe();
    }
    const shades = shadesOf(this.samples, this.window);
    const pixels = new Uint32Array(columns * rows);
    for (let at = 0; at < pixels.length; at++) pixels[at] = shades[numbers[at]];
    const drawn = new ImageData(new Uint8ClampedArray(pixels.buffer), columns, rows);
    this.canvas.getContext("2d").putImageData(drawn, 0, 0);
  }

  async fetchSamples() {
    const { id, model, part } = this.source;
    const { signal } = this.asking;
    this.fetching = true;
    try {
      const answer = await ask("GET", `api/images/${id}/samples${query({ model, part })}`, { signal, as: "answer" });
      const [columns, rows, low, high, inverted] = ["Width", "Height", "Low", "High", "Inverted"].map((name) =>
        Number(answer.headers.get(`X-${name}`)),
      );
      const numbers = new Uint16Array(await answer.arrayBuffer());
      if (!signal.aborted) this.samples = { width: columns, height: rows, low, high, inverted: inverted === 1, numbers };
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Refusal) || error.status !== LARGE) return this.failed(error);
      this.withoutSamples = true;
      this.fetchPicture();
    } finally {
      this.fetching = false;
    }
  }

  /** What is too large to be drawn here, or not here yet, the service draws. */
  fetchPicture() {
    const address = this.address(this.source.part, this.window);
    if (this.image instanceof HTMLImageElement && this.image.getAttribute("src") !== address) this.image.src = address;
  }

  /** Have all pixels, where those of the reduced picture are too few for how far it is enlarged. */
  sharpen(shown) {
    const { size } = this.source || {};
    if (this.canvas || this.whole || !size || Math.max(...size) <= SIDE || shown <= SIDE) return;
    this.whole = true;
    const image = h("img", { src: this.address(this.source.part, this.moved ? this.window : null), draggable: "false" });
    const { signal } = this.asking;
    image.addEventListener("load", () => {
      if (signal.aborted || this.canvas) return;
      this.image.replaceWith(image);
      this.image = image;
      this.describe();
    });
  }

  enlarge() {
    if (document.fullscreenElement) document.exitFullscreen();
    else $("reading").requestFullscreen().catch(() => {});
  }
}
