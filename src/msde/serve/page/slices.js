// The slices of a volume: which is shown, and the ways from one to the next.

import { query } from "./api.js";
import { $, calmly, h, say } from "./dom.js";
import { figure, pValue } from "./words.js";

const STRIP = 96;
const PAGE = 10;
const WAYS = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -PAGE, PageDown: PAGE };

/** `show(part)` is called with the slice to show. */
export class Slices {
  constructor(show) {
    this.volume = null;
    this.part = 0;
    this.way = 1; // in which it was gone lately
    this.showSoon = calmly(15, () => show(this.part));
    this.sayLater = calmly(300, () => say($("slice-says").textContent));
    $("slice").addEventListener("input", () => this.goTo(Number($("slice").value) - 1));
    $("hottest").addEventListener("click", () => this.hottest());
  }

  clear() {
    this.volume = null;
    $("slices").hidden = true;
    $("highest").hidden = true;
    $("strip").replaceChildren();
    $("slice-shown").textContent = "";
  }

  /** Take an image; one of several parts is a volume. */
  of(image, model) {
    this.clear();
    this.part = image.top_parts[0]?.part ?? 0;
    if (image.n_parts < 2) return;
    this.volume = image;
    $("slices").hidden = false;
    $("slice").max = image.n_parts;
    $("highest").hidden = !image.top_parts.length;
    const shots = image.top_parts.map(({ part, p_value: p, anomaly_score: score }) => {
      const source = `api/images/${image.id}/picture${query({ model, part, side: STRIP })}`;
      return h(
        "button",
        { type: "button", "data-part": part, onclick: () => this.goTo(part) },
        ...(image.purged ? [] : [h("img", { src: source, alt: "" })]),
        h("span", {}, `Slice ${part + 1}, `, p === null ? `score ${figure(score)}` : pValue(p)),
      );
    });
    $("strip").replaceChildren(...shots);
    $("marked").replaceChildren(...image.top_parts.map(({ part }) => h("option", { value: part + 1 })));
    this.mark();
  }

  mark() {
    if (!this.volume) return;
    const text = `${this.part + 1} of ${this.volume.n_parts}`;
    $("slice").value = this.part + 1;
    $("slice-says").textContent = text;
    $("slice-shown").textContent = `Slice ${text}`;
    $("slice").setAttribute("aria-valuetext", text);
    for (const shot of $("strip").children) {
      shot.setAttribute("aria-pressed", String(Number(shot.dataset.part) === this.part));
    }
  }

  goTo(part) {
    const to = Math.min(Math.max(part, 0), this.volume.n_parts - 1);
    if (to !== this.part) this.way = Math.sign(to - this.part);
    this.part = to;
    this.mark();
    this.showSoon();
  }

  /** Go on by so many; whether there are slices. */
  step(by) {
    if (!this.volume) return false;
    if (by) this.goTo(this.part + by);
    return true;
  }

  /** Whether there is a further slice that way. */
  leads(way) {
    const to = this.part + way;
    return to >= 0 && to < this.volume.n_parts;
  }

  byKey(key) {
    if (!this.step(WAYS[key])) return false;
    this.sayLater();
    return true;
  }

  /** Go to the slice of the highest score, and from there to the next highest. */
  hottest() {
    if (!this.volume?.top_parts.length) return say("There is no hottest slice.");
    const parts = this.volume.top_parts.map(({ part }) => part);
    const at = (parts.indexOf(this.part) + 1) % parts.length;
    this.goTo(parts[at]);
    say(`${at ? `Number ${at + 1} of the hottest slices` : "The hottest slice"}: ${$("slice-says").textContent}.`);
  }

  /** The slices that are likely to be looked at next. */
  get next() {
    if (!this.volume) return [];
    const likely = [1, 2, 3, -1].map((by) => this.part + by * this.way);
    return likely.filter((part) => part >= 0 && part < this.volume.n_parts);
  }
}
