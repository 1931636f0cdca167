// Lengths and regions that are drawn upon a picture. They are of the screen alone: none is stored.

import { ask, query } from "./api.js";
import { calmly, h, say, svg } from "./dom.js";
import { figure } from "./words.js";

const LEAST = 3; // px of the screen that a drag is long
const PAUSE = 150;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const exact = (value) => String(Number(value.toPrecision(4)));
const NAMES = { length: "Length", region: "Region" };

const drawing = (kind) =>
  kind === "length" ? [svg("line"), svg("line", { class: "drawn" })] : [svg("ellipse"), svg("ellipse", { class: "drawn" })];

/** One length or region between two places, in pixels of the picture. */
class Mark {
  constructor(marks, kind, from, to) {
    Object.assign(this, { marks, kind, ends: [from, to], said: "" });
    this.shapes = drawing(kind);
    this.handles = this.ends.map((_, end) => this.handle(end));
    this.label = svg("text");
    this.node = svg("g", { class: `measure ${kind}` }, this.shapes, this.handles, this.label);
    this.measureLater = calmly(PAUSE, () => this.measure());
    this.asking = new AbortController();
  }

  handle(end) {
    const handle = svg("circle", { class: "handle", r: 6, tabindex: 0, role: "button" });
    handle.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault(); // so that the viewport begins nothing
      handle.focus();
      handle.setPointerCapture(event.pointerId);
      const move = (moved) => this.moveEnd(end, this.marks.placeOf(moved));
      handle.addEventListener("pointermove", move);
      handle.addEventListener("lostpointercapture", () => handle.removeEventListener("pointermove", move), { once: true });
    });
    handle.addEventListener("keydown", (event) => {
      const way = ARROWS[event.key];
      if (event.key === "Delete" || event.key === "Backspace") this.marks.remove(this);
      else if (way) {
        const by = event.shiftKey ? 10 : 1;
        this.moveEnd(end, [this.ends[end][0] + by * way[0], this.ends[end][1] + by * way[1]]);
      } else return;
      event.preventDefault();
      event.stopPropagation();
    });
    return handle;
  }

  moveEnd(end, place) {
    this.ends[end] = this.marks.within(place);
    this.told([]);
    this.measureLater();
    this.draw();
  }

  /** Say what was measured, beside the mark and to those who cannot see it. */
  told(lines) {
    this.said = lines.join("; ");
    this.label.replaceChildren(...lines.map((line, at) => svg("tspan", { x: 0, dy: at ? "1.25em" : 0 }, line)));
    this.handles.forEach((handle, end) => {
      const which = end ? "second end" : "first end";
      handle.setAttribute("aria-label", `${NAMES[this.kind]} ${this.said}, ${which}: arrow keys move it, Delete removes the mark`);
    });
  }

  async measure() {
    this.asking.abort();
    const asking = (this.asking = new AbortController());
    const lines = this.kind === "length" ? [this.marks.length(...this.ends)] : await this.marks.region(...this.ends, asking.signal);
    if (asking.signal.aborted || !lines) return;
    this.told(lines);
    this.draw();
    say(`${NAMES[this.kind]}: ${this.said}.`);
  }

  draw() {
    const [[x1, y1], [x2, y2]] = this.ends.map((place) => this.marks.onScreen(place));
    for (const shape of this.shapes) {
      const placed =
        this.kind === "length"
          ? { x1, y1, x2, y2 }
          : { cx: (x1 + x2) / 2, cy: (y1 + y2) / 2, rx: Math.abs(x2 - x1) / 2, ry: Math.abs(y2 - y1) / 2 };
      for (const [name, value] of Object.entries(placed)) shape.setAttribute(name, value);
    }
    this.handles.forEach((handle, end) => {
      handle.setAttribute("cx", end ? x2 : x1);
      handle.setAttribute("cy", end ? y2 : y1);
    });
    const { clientWidth: wide, clientHeight: high } = this.marks.pane.element;
    const room = this.label.getBBox();
    const left = Math.min(Math.max(x1, x2) + 10, Math.max(wide - room.width - 4, 4));
    const top = Math.min(Math.max((y1 + y2) / 2, 16), Math.max(high - room.height, 16));
    this.label.setAttribute("transform", `translate(${left}, ${top})`);
  }
}

export class Marks {
  constructor(pane, failed) {
    Object.assign(this, { pane, failed });
    this.svg = pane.element.querySelector(".marks");
    this.source = null;
    this.parts = new Map(); // marks by slice
  }

  /** Show the marks of a picture or slice; those of another image go. */
  of(source) {
    if (source?.id !== this.source?.id) this.clear();
    this.source = source;
    this.svg.replaceChildren(...this.here.map(({ node }) => node));
    this.draw();
  }

  get here() {
    return this.parts.get(this.source?.part) || [];
  }

  clear() {
    this.parts.clear();
    this.svg.replaceChildren();
  }

  draw() {
    for (const mark of this.here) mark.draw();
  }

  remove(mark) {
    this.parts.set(this.source.part, this.here.filter((one) => one !== mark));
    mark.asking.abort();
    mark.node.remove();
    this.pane.element.focus({ preventScroll: true });
    say(`${NAMES[mark.kind]} removed.`);
  }

  add(kind, from, to) {
    const mark = new Mark(this, kind, this.within(from), this.within(to));
    this.parts.set(this.source.part, [...this.here, mark]);
    this.svg.append(mark.node);
    mark.told([]);
    mark.draw();
    return mark;
  }

  /** What a drag with the tool does. */
  act(kind) {
    return (event) => {
      if (!this.source) return null;
      const mark = this.add(kind, this.placeOf(event), this.placeOf(event));
      const from = [event.clientX, event.clientY];
      return {
        move: (moved) => mark.moveEnd(1, this.placeOf(moved)),
        end: ({ clientX, clientY }) => {
          if (Math.hypot(clientX - from[0], clientY - from[1]) < LEAST) this.remove(mark);
        },
      };
    };
  }

  /** Put one into the middle of what is seen, to be moved by keys. */
  addInMiddle(kind) {
    if (!this.source || !NAMES[kind]) return false;
    const { clientWidth: width, clientHeight: height } = this.pane.element;
    const box = this.pane.element.getBoundingClientRect();
    const place = (across, down) =>
      this.placeOf({ clientX: box.left + width * across, clientY: box.top + height * down });
    const mark = this.add(kind, place(0.4, kind === "length" ? 0.5 : 0.4), place(0.6, kind === "length" ? 0.5 : 0.6));
    mark.handles[1].focus();
    mark.measure();
    return true;
  }

  placeOf(event) {
    const [x, y] = this.pane.toPicture(event);
    return [x * this.source.width, y * this.source.height];
  }

  onScreen([x, y]) {
    return this.pane.toPane(x / this.source.width, y / this.source.height);
  }

  within([x, y]) {
    return [Math.min(Math.max(x, 0), this.source.width), Math.min(Math.max(y, 0), this.source.height)];
  }

  length([x1, y1], [x2, y2]) {
    const { spacing } = this.source;
    if (!spacing) return `${figure(Math.hypot(x2 - x1, y2 - y1))} px`;
    const millimetres = Math.hypot((x2 - x1) * spacing.columns, (y2 - y1) * spacing.rows);
    return `${figure(millimetres)} mm${spacing.at_detector ? " at the detector" : ""}`;
  }

  async region([x1, y1], [x2, y2], signal) {
    const { id, model, part, spacing, unit, gray } = this.source;
    if (!gray) return ["in colour, which is not measured"];
    const [left, right] = [Math.min(x1, x2), Math.max(x1, x2)];
    const [top, bottom] = [Math.min(y1, y2), Math.max(y1, y2)];
    if (right - left < 1 || bottom - top < 1) return null;
    try {
      const asked = query({ model, part, left, top, right, bottom });
      const { pixels, mean, sd } = await ask("GET", `api/images/${id}/region${asked}`, { signal });
      const area = spacing ? `${figure(pixels * spacing.rows * spacing.columns)} mm², ` : "";
      return [`${exact(mean)} ± ${exact(sd)}${unit ? ` ${unit}` : ""}`, `${area}${pixels.toLocaleString("en-GB")} px`];
    } catch (error) {
      if (!signal.aborted) this.failed(error);
      return null;
    }
  }
}
