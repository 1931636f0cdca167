// One picture: the image, its window, and the overlay upon it.

import { Refusal, ask, query } from "./api.js";
import { $, calmly, h } from "./dom.js";
import { figure } from "./words.js";

const SIDE = 1024;
const LEVELS = 65535;
const STEPS = 1000; // of a slider
const LARGE = 413;

const [opacity, level, width] = ["opacity", "level", "width"].map($);
const stage = $("stage");

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

export class Picture {
  constructor(failed) {
    this.failed = failed;
    this.asking = new AbortController();
    this.range = null;
    this.covered = true; // whether the overlay is wanted
    opacity.value = 50;
    opacity.addEventListener("input", () => {
      this.covered = Number(opacity.value) > 0;
      this.cover();
    });
    for (const slider of [level, width]) slider.addEventListener("input", () => this.follow());
    $("reset").addEventListener("click", () => this.reset());
    $("enlarge").addEventListener("click", () => this.enlarge());
    document.addEventListener("fullscreenchange", () => {
      $("enlarge").textContent = document.fullscreenElement ? "Leave full screen" : "Full screen";
    });
    this.drag();
    this.fetchLater = calmly(200, () => this.fetchPicture());
  }

  /** Show an image or a slice; a slice keeps the window of the one before it. */
  show({ id, model, version, part, name, range, hasOverlay }, keep) {
    this.asking.abort();
    this.asking = new AbortController();
    this.source = { id, model, part, name };
    this.samples = this.canvas = this.overlay = null;
    this.withoutSamples = false;
    const asked = query({ model, part, side: SIDE });
    this.image = h("img", { src: `api/images/${id}/picture${asked}`, alt: name, draggable: "false" });
    this.image.addEventListener("error", ({ target }) => this.again(target, () => this.gone(target)), { once: true });
    stage.replaceChildren(this.image);
    if (hasOverlay) {
      const parameters = query({ model, part, side: SIDE, version, alone: true });
      this.overlay = h("img", { class: "overlay", src: `api/images/${id}/overlay${parameters}`, alt: "", draggable: "false" });
      const withoutOverlay = ({ target }) => this.again(target, () => this.uncover(target));
      this.overlay.addEventListener("error", withoutOverlay, { once: true });
      stage.append(this.overlay);
    }
    this.offer(".of-overlay", Boolean(hasOverlay));
    this.offer(".of-window", Boolean(range));
    this.cover();
    const window = keep && this.range && this.moved ? this.window : null;
    this.range = range;
    if (!range) return;
    this.setUp();
    this.setWindow(window || range.window);
    if (window) this.draw();
    else this.moved = false;
  }

  clear() {
    this.asking.abort();
    this.range = this.overlay = null;
    stage.replaceChildren();
    for (const selector of [".of-overlay", ".of-window"]) this.offer(selector, false);
  }

  offer(selector, whether) {
    for (const node of document.querySelectorAll(selector)) node.hidden = !whether;
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

  uncover(overlay) {
    overlay.remove();
    if (overlay !== this.overlay) return;
    this.overlay = null;
    this.offer(".of-overlay", false);
  }

  gone(image) {
    image.replaceWith(h("p", { class: "gone" }, "The picture cannot be shown."));
  }

  /** Show or hide the overlay. */
  toggle() {
    if (!this.overlay) return null;
    this.covered = !this.covered;
    if (this.covered && !Number(opacity.value)) opacity.value = 50;
    this.cover();
    return this.covered;
  }

  cover() {
    const percent = this.covered ? Number(opacity.value) : 0;
    opacity.nextElementSibling.textContent = this.covered ? `${percent} %` : "off";
    opacity.setAttribute("aria-valuetext", this.covered ? `${percent} %` : "off");
    if (!this.overlay) return;
    this.overlay.style.opacity = percent / 100;
    stage.classList.toggle("covered", percent > 0);
    this.describe();
  }

  describe() {
    const shown = this.canvas || this.image;
    const text = this.source.name + (this.overlay && this.covered ? ", with overlay" : "");
    if (shown instanceof HTMLImageElement) shown.alt = text;
    else shown.setAttribute("aria-label", text);
  }

  // Window and level

  setUp() {
    const { low, high, window } = this.range;
    const [least, most] = [Math.min(low, window[0]), Math.max(high, window[1])];
    const span = most - least || 1;
    const whole = Number.isInteger(low) && Number.isInteger(high) && span > STEPS;
    this.unit = whole ? Math.max(1, Math.round(span / STEPS)) : span / STEPS;
    Object.assign(level, { min: least, max: most, step: "any" });
    Object.assign(width, { min: this.unit, max: span, step: "any" });
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
    for (const [slider, value] of [[level, this.middle], [width, this.wide]]) {
      slider.value = value;
      slider.nextElementSibling.textContent = figure(value);
      slider.setAttribute("aria-valuetext", figure(value));
    }
  }

  follow() {
    this.adjust(Number(level.value), Number(width.value));
    this.draw();
  }

  reset() {
    if (!this.range) return;
    this.setWindow(this.range.window);
    this.draw();
    this.moved = false;
  }

  drag() {
    let from = null;
    stage.addEventListener("pointerdown", (event) => {
      if (!this.range || event.button !== 0) return;
      from = { x: event.clientX, y: event.clientY, middle: this.middle, wide: this.wide };
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointermove", (event) => {
      if (!from) return;
      const across = Number(width.max) / 400; // of the values, over so many pixels
      this.adjust(from.middle + (event.clientY - from.y) * across, from.wide + (event.clientX - from.x) * across);
      this.draw();
    });
    for (const end of ["pointerup", "pointercancel"]) {
      stage.addEventListener(end, () => {
        from = null;
      });
    }
    for (const slider of [level, width]) {
      slider.addEventListener("keydown", (event) => {
        const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -20, PageUp: 20 }[event.key];
        if (!by) return;
        event.preventDefault();
        slider.value = Number(slider.value) + by * 5 * this.unit;
        this.follow();
      });
    }
  }

  /** Draw at the next frame. */
  draw() {
    this.moved = true;
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

  /** What is too large to be drawn here, the service draws. */
  fetchPicture() {
    const { id, model, part } = this.source;
    const [low, high] = this.window;
    this.image.src = `api/images/${id}/picture${query({ model, part, side: SIDE, low, high })}`;
  }

  enlarge() {
    if (document.fullscreenElement) document.exitFullscreen();
    else stage.parentElement.requestFullscreen().catch(() => {});
  }
}
