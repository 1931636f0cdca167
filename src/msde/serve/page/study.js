// The study of the selected image: whose it is, who is to look at it, and the patient's other images beside it.

import { ask, query } from "./api.js";
import { confirmed } from "./dialogs.js";
import { $, h, say } from "./dom.js";
import { VERDICTS, day, pValue, whoseOf } from "./words.js";

const SIDE = 160; // px, twice what a picture is shown at
const MOST = 100;

/** `open(row)` shows another image, `changed()` is called when somebody else is to look at it, `failed(error)` on trouble. */
export class Study {
  constructor({ open, changed, failed }) {
    Object.assign(this, { open, changed, failed });
    this.asking = new AbortController();
    this.who = { user: "", viewer: false };
  }

  /** Show what is known at once, and the patient's other images when they have come. */
  async show(row, model) {
    this.asking.abort();
    const asking = (this.asking = new AbortController());
    const again = row && this.rows?.some(({ id }) => id === row.id) && this.model === model.name;
    this.row = row;
    this.model = model.name;
    if (!again) this.rows = [];
    this.draw();
    if (!row?.pseudonyms) return;
    const asked = { model: model.name, patient_of: row.id, sort: "arrived", limit: MOST };
    try {
      this.rows = (await ask("GET", `api/images${query(asked)}`, { signal: asking.signal })).rows;
    } catch (error) {
      if (!asking.signal.aborted) this.failed(error);
      return;
    }
    this.draw();
  }

  /** Take over who is to look at it by now. */
  renew(row) {
    if (!row || row.id !== this.row?.id) return;
    this.row = row;
    this.draw();
  }

  draw() {
    const { row } = this;
    $("case-who").replaceChildren(...(row ? this.whose(row) : []));
    const others = row?.pseudonyms ? this.rows : [];
    const of = others.filter(({ pseudonyms }) => pseudonyms.study === row.pseudonyms.study);
    const earlier = others.filter(({ pseudonyms }) => pseudonyms.study !== row.pseudonyms.study);
    const strips = [
      of.length > 1 ? this.strip("Images of this study", of) : null,
      earlier.length ? this.strip("Other studies of the patient", earlier) : null,
    ].filter(Boolean);
    $("study").replaceChildren(...strips);
    $("study").hidden = !strips.length;
  }

  whose(row) {
    const parts = whoseOf(row).map((text) => h("span", {}, h("bdi", {}, text), " "));
    const opens = { "aria-label": "Open in PACS viewer", target: "_blank", rel: "noopener noreferrer" };
    const dicom = this.who.viewer && row.format === "DICOM" && !row.purged;
    return [
      ...parts,
      dicom ? h("a", { href: `api/images/${row.id}/viewer`, ...opens }, "PACS viewer") : null,
      row.pseudonyms || row.assigned ? this.reader(row) : null,
    ].filter(Boolean);
  }

  reader({ assigned }) {
    const mine = assigned === this.who.user;
    const act = mine ? "Give back" : assigned ? "Take over" : "Take";
    const says = mine ? "Yours." : assigned ? [h("bdi", {}, assigned), " has it."] : [];
    const button = h("button", { type: "button", class: "small", "aria-label": `${act} this study`, onclick: () => this.assign() }, act);
    return h("span", { class: "reader" }, says, " ", button);
  }

  async assign() {
    const { row } = this;
    const mine = row.assigned === this.who.user;
    if (!mine && row.assigned && !(await confirmed("Take it over?", `${row.assigned} has this study.`, "Take over"))) return;
    const body = { reader: mine ? null : this.who.user, instead_of: row.assigned };
    try {
      row.assigned = (await ask("PUT", `api/images/${row.id}/assignment`, { body })).reader;
    } catch (error) {
      this.failed(error);
      return;
    }
    say(row.assigned ? "The study is yours." : "The study is nobody's.");
    if (this.row === row) this.draw();
    this.changed();
  }

  strip(title, rows) {
    return h("div", {}, h("h3", {}, title), h("div", { class: "shots", role: "group", "aria-label": title }, rows.map((row) => this.shot(row))));
  }

  shot(row) {
    const source = `api/images/${row.id}/picture${query({ model: this.model, side: SIDE })}`;
    const said = [
      row.identifiers?.study_date || day(row.arrived),
      row.p_value === null ? "" : pValue(row.p_value),
      row.flagged ? "flagged" : "",
      row.verdict ? VERDICTS[row.verdict].toLowerCase() : "",
    ].filter(Boolean);
    return h(
      "button",
      { type: "button", "aria-pressed": String(row.id === this.row.id), onclick: () => this.open(row) },
      row.purged ? h("span", { class: "no-picture" }) : h("img", { src: source, alt: "", loading: "lazy" }),
      said.map((text) => h("span", { class: text === "flagged" ? "flagged-text" : null }, `${text} `)),
    );
  }
}
