// The overlay upon the picture, its colour bar, and whether there is a place to look at.

import { $, h, offer } from "./dom.js";

const LOOKED_AT = 256; // px a side, when an overlay is looked through for colour
const MOST = 0.5; // of a picture in colour: more is no single place
const SPACE = "\u00a0";

const opacity = $("opacity");
const layers = $("layers");

/** What share of an overlay is in colour. */
const coloured = (overlay) => {
  const canvas = h("canvas", { width: LOOKED_AT, height: LOOKED_AT });
  const context = canvas.getContext("2d");
  context.drawImage(overlay, 0, 0, LOOKED_AT, LOOKED_AT);
  const { data } = context.getImageData(0, 0, LOOKED_AT, LOOKED_AT);
  let found = 0;
  for (let at = 3; at < data.length; at += 4) found += data[at] > 0;
  return found / LOOKED_AT ** 2;
};

/** `again(image, givenUp)` asks once more for what did not come; `changed()` is called when it is seen or not any more. */
export class Overlay {
  constructor({ again, changed }) {
    Object.assign(this, { again, changed });
    this.address = this.image = null;
    this.covered = true; // whether it is wanted
    opacity.value = 50;
    opacity.addEventListener("input", () => {
      this.covered = Number(opacity.value) > 0;
      this.cover();
    });
  }

  /** Be that of an image or slice, as soon as it is laid; null where there is none. */
  of(asked, id) {
    this.address = asked && `api/images/${id}/overlay${asked}`;
    this.image = null;
    this.tell("");
    offer(".of-overlay", Boolean(asked));
    this.cover();
  }

  lay() {
    if (!this.address || this.image || !layers.firstChild) return;
    const image = h("img", { class: "overlay", src: this.address, alt: "", draggable: "false" });
    this.image = image;
    image.addEventListener("error", () => this.again(image, () => this.gone(image)), { once: true });
    image.addEventListener("load", () => image === this.image && this.look());
    layers.append(image);
    this.cover();
  }

  gone(image) {
    image.remove();
    if (image === this.image) this.of(null);
  }

  get seen() {
    return Boolean(this.image && this.covered);
  }

  /** Say whether there is a place to look at. */
  look() {
    const share = coloured(this.image);
    if (share === 0) this.tell("No single place stands out.");
    else if (share > MOST) this.tell("Most of the picture is coloured: no single place stands out.");
    else this.tell(`Colour on ${share < 0.01 ? "less than 1" : Math.round(100 * share)}${SPACE}% of the picture.`);
  }

  tell(text) {
    $("place-says").textContent = text;
    $("place-says").classList.toggle("nowhere", /no single/i.test(text));
  }

  /** Show or hide it. */
  toggle() {
    if (!this.image) return null;
    this.covered = !this.covered;
    if (this.covered && !Number(opacity.value)) opacity.value = 50;
    this.cover();
    return this.covered;
  }

  cover() {
    const percent = this.covered ? Number(opacity.value) : 0;
    const text = this.covered ? `${percent} %` : "off";
    opacity.nextElementSibling.textContent = text;
    opacity.setAttribute("aria-valuetext", text);
    $("colour-bar").classList.toggle("off", !this.covered);
    if (!this.image) return;
    this.image.style.opacity = percent / 100;
    this.changed();
  }
}
