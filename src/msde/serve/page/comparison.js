// The images most like the shown one: beside it as a strip, and one of them in a pane of its own, at the same zoom.

import { ask, query } from "./api.js";
import { $, calmly, h, say } from "./dom.js";
import { capital } from "./words.js";

const SIDE = 256;
const LARGE = 1024;
const EIGHT = 8; // bits, whose window means the same in every picture

const SORTS = {
  normals: { place: "alike", called: (number) => `normal image ${number + 1}` },
  labelled: { place: "alike-labelled", called: (number) => `labelled abnormal image ${number + 1}` },
};

export class Comparison {
  /** `pane` is that of the image to compare with. */
  constructor(pane) {
    this.pane = pane;
    this.asking = new AbortController();
    this.wanted = false; // whether an image is shown beside
    this.chosen = null;
    this.window = null;
    this.findLater = calmly(250, () => this.find());
    $("compare").addEventListener("click", () => this.toggle());
  }

  clear() {
    this.asking.abort();
    this.source = this.chosen = this.window = null;
    for (const [sort, { place }] of Object.entries(SORTS)) {
      $(sort).replaceChildren();
      $(place).hidden = true;
    }
    this.draw();
  }

  /** Compare with what is most like this image or slice; what is shown beside stays until that is known. */
  of(source) {
    this.asking.abort();
    this.asking = new AbortController();
    this.source = source;
    this.findLater();
  }

  find() {
    if (this.source) for (const sort of Object.keys(SORTS)) this.showNearest(sort);
  }

  async showNearest(sort) {
    const { source } = this;
    const { id, model, part, has } = source;
    if (!has[sort]) return;
    let found;
    try {
      found = (await ask("GET", `api/images/${id}/${sort}${query({ model, part })}`, { signal: this.asking.signal }))[sort];
    } catch {
      return; // of little weight beside the image; it is then not compared
    }
    if (this.source !== source) return;
    const { place, called } = SORTS[sort];
    $(place).hidden = !found.length;
    $(sort).replaceChildren(
      ...found.map(({ number, kind }, rank) => {
        const name = called(number);
        const words = kind || (rank ? `${rank + 1}.` : "nearest");
        const image = h("img", { src: this.address(sort, number, SIDE), alt: capital(name) });
        const choose = () => this.choose({ sort, number, name: kind ? `${name}, ${kind}` : name });
        const label = `Compare with ${name}, ${words}`;
        const button = h("button", { type: "button", class: "shot", "data-number": number, "aria-label": label, onclick: choose }, image);
        return h("figure", {}, button, h("figcaption", {}, kind ? h("bdi", {}, kind) : words));
      }),
    );
    if (sort === "normals") {
      const [nearest] = found;
      this.nearest = nearest ? { sort, number: nearest.number, name: called(nearest.number) } : null;
      if (!this.chosen || this.chosen.sort === sort) this.chosen = this.nearest;
      this.draw();
    }
  }

  address(sort, number, side) {
    const comparable = this.source.range && (this.source.range.unit || this.source.range.unit_bits === EIGHT);
    const [low, high] = (side === LARGE && comparable && this.window) || [];
    return `api/${sort}/${number}/picture${query({ model: this.source.model, side, low, high })}`;
  }

  /** Take over the window of the image, where its values mean the same in both. */
  windowed(window) {
    this.window = window;
    if (this.wanted && this.chosen) this.draw();
  }

  choose(image) {
    const again = this.wanted && this.chosen?.number === image.number && this.chosen.sort === image.sort;
    this.wanted = !again;
    this.chosen = image;
    this.draw();
    say(again ? "Compared no longer." : `Beside it: ${image.name}.`);
  }

  toggle() {
    this.wanted = !this.wanted;
    if (this.wanted) this.chosen ||= this.nearest;
    this.draw();
    if (!this.wanted) say("Compared no longer.");
    else say(this.chosen ? `Beside it: ${this.chosen.name}.` : "There is no normal to compare with.");
  }

  draw() {
    const shown = this.wanted && this.chosen;
    $("compare").hidden = !this.source || !this.source.has.normals;
    $("compare").setAttribute("aria-pressed", String(Boolean(shown)));
    $("stage-beside").hidden = !shown;
    for (const shot of document.querySelectorAll("#beside .shot")) {
      const of = shot.closest(".compared").id;
      const pressed = Boolean(shown) && of === this.chosen.sort && Number(shot.dataset.number) === this.chosen.number;
      shot.setAttribute("aria-pressed", String(pressed));
    }
    if (!shown) return this.pane.layers.replaceChildren();
    const { sort, number, name } = this.chosen;
    $("beside-says").textContent = capital(name);
    const address = this.address(sort, number, LARGE);
    if (this.pane.layers.firstChild?.getAttribute("src") === address) return this.pane.lay(this.pane.view);
    const image = h("img", { src: address, alt: capital(name), draggable: "false" });
    image.addEventListener("load", () => this.pane.of(image.naturalWidth, image.naturalHeight), { once: true });
    this.pane.layers.replaceChildren(image);
    this.pane.lay(this.pane.view);
  }
}
