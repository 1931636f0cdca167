// The viewport: how far pictures are enlarged, which place of them is in the middle, and what pointers do upon them.

const MOST = 20; // times the size at which a picture fits
const STEP = 1.25; // of a key or button
const NOTCH = 40; // of a wheel that is turned: one slice
const NEAR = 0.002; // of the zoom, to the size that fits
const BESIDE = "(min-width: 68rem)"; // where the picture stands beside the list; in one column the wheel scrolls the page

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Where one picture lies. The pictures of all panes are enlarged alike, each about the same place of itself. */
export class Pane {
  constructor(element) {
    this.element = element;
    this.layers = element.querySelector(".layers");
    this.size = [1, 1]; // width and height of the picture, in one unit
    this.view = { zoom: 1, x: 0.5, y: 0.5 };
  }

  of(width, height) {
    this.size = [width, height];
    this.lay(this.view);
  }

  /** The picture's box when it fits, in pixels of the screen. */
  get fit() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const scale = Math.min(width / this.size[0], height / this.size[1]);
    return [this.size[0] * scale, this.size[1] * scale];
  }

  lay(view) {
    this.view = view;
    const [width, height] = this.fit;
    const [left, top] = this.toPane(0, 0);
    Object.assign(this.layers.style, {
      width: `${width * view.zoom}px`,
      height: `${height * view.zoom}px`,
      transform: `translate(${left}px, ${top}px)`,
    });
  }

  /** From a place of the picture, in shares of its sides, to one of the pane. */
  toPane(x, y) {
    const [width, height] = this.fit;
    return [
      this.element.clientWidth / 2 + (x - this.view.x) * width * this.view.zoom,
      this.element.clientHeight / 2 + (y - this.view.y) * height * this.view.zoom,
    ];
  }

  toPicture({ clientX, clientY }) {
    const box = this.element.getBoundingClientRect();
    const [width, height] = this.fit;
    return [
      this.view.x + (clientX - box.left - box.width / 2) / (width * this.view.zoom),
      this.view.y + (clientY - box.top - box.height / 2) / (height * this.view.zoom),
    ];
  }
}

/**
 * Panes that move together. `acts` has for each tool what a drag with it does: called with the event of its beginning and
 * the pane, it gives `{ move(event), end(event) }`. `turn(by)` goes on by so many slices, or says that there are none;
 * `leads(way)` whether there are more that way.
 */
export class Viewport {
  constructor(panes, { acts, turn, leads, changed }) {
    Object.assign(this, { panes, turn, leads, changed });
    this.acts = { ...acts, pan: (event) => this.pan(event), zoom: (event, pane) => this.scale(event, pane) };
    this.tool = "window";
    this.view = panes[0].view;
    this.fingers = new Map();
    this.turned = 0;
    for (const pane of panes) this.listen(pane);
    new ResizeObserver(() => this.lay()).observe(panes[0].element);
  }

  use(tool) {
    this.tool = tool;
    this.panes[0].element.parentElement.dataset.tool = tool;
  }

  lay() {
    for (const pane of this.panes) pane.lay(this.view);
    this.panes[0].element.parentElement.classList.toggle("enlarged", this.view.zoom > 1);
    this.changed(this.view);
  }

  /** Enlarge about a place, in shares of the picture, that stays where it is. */
  zoomTo(zoom, [x, y] = [this.view.x, this.view.y]) {
    const before = this.view.zoom;
    let after = clamp(zoom, 1, MOST);
    if (after - 1 < NEAR) after = 1;
    this.moveTo(x + ((this.view.x - x) * before) / after, y + ((this.view.y - y) * before) / after, after);
  }

  moveTo(x, y, zoom = this.view.zoom) {
    // Whatever is in the middle is of the picture; where all of it is seen, it is its own middle.
    this.view = zoom === 1 ? { zoom, x: 0.5, y: 0.5 } : { zoom, x: clamp(x, 0, 1), y: clamp(y, 0, 1) };
    this.lay();
  }

  zoomBy(steps) {
    this.zoomTo(this.view.zoom * STEP ** steps);
  }

  /** Move what is seen, in tenths of the pane; whether there was anything to move. */
  shift(across, down) {
    if (this.view.zoom === 1) return false;
    const { element, fit } = this.panes[0];
    const by = (share, side, fitting) => (share * side) / (10 * fitting * this.view.zoom);
    this.moveTo(
      this.view.x + by(across, element.clientWidth, fit[0]),
      this.view.y + by(down, element.clientHeight, fit[1]),
    );
    return true;
  }

  // Pointers

  listen(pane) {
    const { element } = pane;
    element.addEventListener("pointerdown", (event) => this.down(event, pane));
    element.addEventListener("pointermove", (event) => this.move(event, pane));
    for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, (event) => this.up(event));
    element.addEventListener("wheel", (event) => this.wheel(event, pane), { passive: false });
    element.addEventListener("contextmenu", (event) => event.preventDefault()); // the right button enlarges
    element.addEventListener("dblclick", (event) => {
      if (this.tool === "window" || this.tool === "pan") this.zoomTo(this.view.zoom > 1 ? 1 : 2, pane.toPicture(event));
    });
  }

  down(event, pane) {
    if (event.defaultPrevented) return; // a mark has it
    this.fingers.set(event.pointerId, event);
    if (this.fingers.size === 2) {
      this.under?.end?.(event);
      this.under = this.pinch(pane);
    } else if (this.fingers.size === 1) {
      const act = this.actFor(event);
      this.under = act ? act(event, pane) : null;
    }
    if (this.under) pane.element.setPointerCapture(event.pointerId);
  }

  actFor({ button, shiftKey, pointerType }) {
    if (button === 1 || (button === 0 && shiftKey)) return this.acts.pan;
    if (button === 2) return this.acts.zoom;
    // A finger on the whole picture scrolls the page, unless a tool was chosen for it.
    if (pointerType === "touch" && this.tool === "window") return this.view.zoom > 1 ? this.acts.pan : null;
    return this.acts[this.tool];
  }

  move(event) {
    if (!this.fingers.has(event.pointerId)) return;
    this.fingers.set(event.pointerId, event);
    this.under?.move(event);
  }

  up(event) {
    if (!this.fingers.delete(event.pointerId)) return;
    this.under?.end?.(event);
    this.under = null;
  }

  pan(event) {
    const from = { x: event.clientX, y: event.clientY, view: this.view };
    return {
      move: ({ clientX, clientY }) => {
        const [width, height] = this.panes[0].fit.map((side) => side * from.view.zoom);
        this.moveTo(from.view.x - (clientX - from.x) / width, from.view.y - (clientY - from.y) / height);
      },
    };
  }

  scale(event, pane) {
    const from = { y: event.clientY, zoom: this.view.zoom, place: pane.toPicture(event) };
    return { move: ({ clientY }) => this.zoomTo(from.zoom * 1.01 ** (from.y - clientY), from.place) };
  }

  pinch(pane) {
    const spread = () => {
      const [one, other] = [...this.fingers.values()];
      const middle = { clientX: (one.clientX + other.clientX) / 2, clientY: (one.clientY + other.clientY) / 2 };
      return { middle, wide: Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1 };
    };
    const from = { ...spread(), zoom: this.view.zoom };
    const place = pane.toPicture(from.middle);
    return {
      move: () => {
        if (this.fingers.size < 2) return;
        const { middle, wide } = spread();
        this.zoomTo((from.zoom * wide) / from.wide, place);
        const [x, y] = pane.toPicture(middle); // what was between the fingers stays there
        this.moveTo(this.view.x + place[0] - x, this.view.y + place[1] - y);
      },
    };
  }

  wheel(event, pane) {
    const enlarges = event.ctrlKey || event.metaKey; // as pinching on a touchpad says
    const beside = matchMedia(BESIDE).matches;
    if (!enlarges && this.turn(0)) {
      if (!beside && !this.leads(Math.sign(event.deltaY))) return; // beyond the last slice the page goes on
      event.preventDefault();
      this.turned += event.deltaMode ? Math.sign(event.deltaY) * NOTCH : event.deltaY;
      const by = Math.trunc(this.turned / NOTCH);
      this.turned -= by * NOTCH;
      if (by) this.turn(Math.sign(by)); // a fast wheel does not skip slices: there are more events
      return;
    }
    if (!enlarges && !beside) return;
    event.preventDefault();
    const by = event.deltaMode ? Math.sign(event.deltaY) : event.deltaY / 100;
    this.zoomTo(this.view.zoom * STEP ** clamp(-by, -2, 2), pane.toPicture(event));
  }
}
