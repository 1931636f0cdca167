// The worklist: one page of rows, sorted and filtered by the service.

import { ask, query } from "./api.js";
import { COLUMNS, USUAL } from "./columns.js";
import { $, calmly, h, say } from "./dom.js";
import { UID, brieflyOf, counted, titleOf } from "./words.js";

const LIMIT = 50;
const THUMB = 112; // px, twice what it is shown at
const DAY = 86_400_000; // ms
const USUAL_SORT = "p_value";
const DESCENDING = ["anomaly_score", "arrived"]; // at the first click

const filters = $("filters");

/** "3 images, 1 flagged, 2 unread". */
const togetherOf = ({ images, flagged, waiting, without_verdict: open }) =>
  [
    counted(images, "image"),
    flagged ? `${flagged} flagged` : "",
    waiting ? `${waiting} waiting` : "",
    open ? `${open} unread` : "",
  ]
    .filter(Boolean)
    .join(", ");

/**
 * `choose(row)` is called with the row to show, or null, `alone(image)` with the number of an image that is to be shown and
 * heads no line, `listed()` after each look; `failed(error)` with what went wrong.
 */
export class Worklist {
  constructor({ choose, alone, listed, failed }) {
    Object.assign(this, { choose, alone, listed, failed });
    this.model = null;
    this.columns = USUAL;
    this.sort = USUAL_SORT;
    this.order = "asc";
    this.offset = 0;
    this.total = 0;
    this.rows = [];
    this.chosen = null; // id
    this.place = 0; // of the chosen row, or where it was
    this.wanted = { last: false, image: null };
    this.asking = new AbortController();
    const typed = calmly(250, () => this.from(0));
    filters.addEventListener("input", ({ target }) => (target.name === "search" ? typed() : this.from(0)));
    $("more").addEventListener("toggle", () => this.offer());
    filters.addEventListener("submit", (event) => event.preventDefault());
    $("previous").addEventListener("click", () => this.from(this.offset - LIMIT));
    $("next").addEventListener("click", () => this.from(this.offset + LIMIT));
    $("rows").addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (event.target.closest("a")) event.preventDefault();
      if (row) this.take(this.rows.findIndex(({ id }) => String(id) === row.dataset.id), true);
    });
    $("headings").addEventListener("click", ({ target }) => {
      if (target.closest("button")) this.sortBy(target.closest("th").dataset.sort);
    });
  }

  /** What is one line: "" for an image, else "study" or "patient". */
  get group() {
    return filters.elements.group.value;
  }

  get filters() {
    const { group, ...given } = Object.fromEntries(new FormData(filters));
    return Object.fromEntries(Object.entries(given).filter(([, value]) => value));
  }

  get filtered() {
    return Object.keys(this.filters).length > 0;
  }

  /** What of the list stands in the page's address; not what is searched for, which may be a name. */
  get address() {
    const { search, ...given } = this.filters;
    const sorted = this.sort === USUAL_SORT && this.order === "asc" ? {} : { sort: this.sort, order: this.order };
    return { ...given, ...(this.group ? { lines: this.group } : {}), ...sorted };
  }

  /** Take over what an address says of the list. */
  restore(named) {
    filters.reset();
    for (const field of filters.querySelectorAll("select")) {
      const value = named.get(field.name === "group" ? "lines" : field.name) || "";
      const open = ["modality", "body_part"].includes(field.name) && ![...field.options].some((one) => one.value === value);
      if (open) field.append(h("option", { value }, value));
      field.value = value;
      if (field.selectedIndex < 0) field.value = "";
    }
    const sort = named.get("sort");
    const known = [...Object.values(COLUMNS).map((column) => column.sort), "name"].includes(sort);
    [this.sort, this.order] = known ? [sort, named.get("order") === "desc" ? "desc" : "asc"] : [USUAL_SORT, "asc"];
    if (Object.keys(this.filters).some((name) => $("more").contains(filters.elements[name]))) $("more").open = true;
  }

  clear() {
    const { group } = this;
    filters.reset();
    filters.elements.group.value = group;
  }

  /** Show these columns; those that need names only where names are shown. */
  show(columns, named) {
    this.columns = (columns || USUAL).filter((key) => COLUMNS[key] && (named || !COLUMNS[key].named));
    const heading = (key) => {
      const { says, sort } = COLUMNS[key];
      return h("th", { scope: "col", class: key, "data-sort": sort }, sort ? h("button", { type: "button" }, says) : h("span", { class: "quiet" }, says));
    };
    for (const old of $("headings").querySelectorAll(".name ~ th")) old.remove();
    $("headings").append(...this.columns.map(heading));
    if (this.model && this.rows.length) this.draw();
  }

  /** Offer the modalities and body parts that there are, where these filters are seen. */
  async offer() {
    if (!$("more").open) return;
    const found = await ask("GET", `api/choices${query({ model: this.model.name })}`).catch(() => null);
    if (!found) return;
    for (const [name, values] of [["modality", found.modalities], ["body_part", found.body_parts]]) {
      const field = filters.elements[name];
      const there = new Set([...field.options].map(({ value }) => value));
      field.append(...values.filter((value) => !there.has(value)).map((value) => h("option", { value }, value)));
      field.parentElement.hidden = field.options.length < 2;
    }
  }

  /** Show another model's images. */
  of(model) {
    this.model = model;
    this.offset = 0;
    $("of-evidence").hidden = !model.labelled;
    if (!model.labelled) filters.elements.evidence.value = "";
    $("export").href = `api/verdicts.csv${query({ model: model.name })}`;
  }

  sortBy(key) {
    const first = DESCENDING.includes(key) ? "desc" : "asc";
    const other = this.order === "asc" ? "desc" : "asc";
    this.order = key === this.sort ? other : first;
    this.sort = key;
    return this.from(0);
  }

  showAll() {
    this.clear();
    return this.from(0);
  }

  /** Load the page that starts there, and choose the row of an image, or else that `at` a place, or the `last`. */
  async from(offset, { last = false, image = null, at = 0 } = {}) {
    this.offset = Math.max(0, offset);
    this.chosen = null;
    this.wanted = { last, image };
    this.place = at;
    await this.load();
  }

  /** Load the page anew; the chosen row stays chosen, wherever it now is. */
  async load() {
    this.asking.abort();
    const asking = (this.asking = new AbortController());
    let page;
    try {
      page = await this.page(this.offset, LIMIT, asking.signal);
    } catch (error) {
      if (!asking.signal.aborted) this.failed(error);
      return;
    }
    if (!page.rows.length && page.total) return this.from(Math.floor((page.total - 1) / LIMIT) * LIMIT, { last: true });
    this.rows = page.rows;
    if (page.total !== this.total) this.offer();
    this.total = page.total;
    this.draw();
    this.listed();
    if (!page.total && !this.filtered) this.chosen = null; // there is no image any more
    if (this.chosen !== null) return this.mark();
    const { image, last } = this.wanted;
    this.wanted = {}; // once
    const at = this.rows.findIndex(({ id }) => id === image);
    if (at < 0 && image) return this.turnTo(image);
    if (this.rows.length) this.take(at >= 0 ? at : last ? this.rows.length - 1 : Math.min(this.place, this.rows.length - 1), false);
    else this.choose(null);
  }

  /** Ask for a page; in a body, because what is searched for may be a name, and addresses are written down. */
  page(offset, limit, signal) {
    return this.ask("worklist", { limit, offset }, signal);
  }

  ask(what, more, signal) {
    const { sort, order } = this;
    const { days, ...given } = this.filters;
    const since = days ? new Date(Date.now() - days * DAY).toISOString() : undefined;
    const body = { ...given, since, group: this.group || undefined, sort, order, ...more };
    return ask("POST", `api/${what}${query({ model: this.model.name })}`, { body, signal, again: true });
  }

  /** Go on to the next image without a verdict, beyond the page too; from the top where there is none below. */
  async toUnread() {
    const at = this.rows.findIndex(({ id }) => id === this.chosen);
    const { place } = await this.ask("worklist/place", { offset: this.offset + (at < 0 ? this.place : at + 1) });
    if (place === null) return say("No image of this list is without a verdict.");
    await this.toPlace(place);
    if (this.chosen !== null) this.take(this.place, true); // else another look is under way, which takes it
  }

  /** Show an image, whatever page it is on, and by itself where it heads no line of the list. */
  async turnTo(image) {
    this.chosen = image;
    this.mark();
    try {
      const { place } = await this.ask("worklist/place", { image });
      if (place !== null) await this.toPlace(place);
      if (this.rows[this.place]?.id !== image) await this.alone(image);
    } catch (error) {
      this.choose(null);
      this.failed(error);
    }
  }

  toPlace(place) {
    return this.from(LIMIT * Math.floor(place / LIMIT), { at: place % LIMIT });
  }

  /** Put a case that has changed into its row. */
  renew(changed) {
    const at = this.rows.findIndex(({ id }) => id === changed.id);
    if (this.group) this.load();
    if (at < 0 || this.group) return;
    this.rows[at] = changed;
    this.draw();
  }

  /** Go on by so many rows, over the ends of the page too. */
  async step(by) {
    const at = this.rows.findIndex(({ id }) => id === this.chosen);
    // A row that a filter has taken away left its place to the next one.
    const next = at >= 0 ? at + by : by > 0 ? this.place : this.place - 1;
    if (next < 0 && this.offset > 0) await this.from(this.offset - LIMIT, { last: true });
    else if (next >= this.rows.length && this.offset + LIMIT < this.total) await this.from(this.offset + LIMIT);
    else {
      this.take(Math.min(Math.max(next, 0), this.rows.length - 1), true);
      return;
    }
    this.link(this.place)?.focus({ preventScroll: true });
  }

  take(at, focus) {
    const row = this.rows[at];
    if (!row) return;
    this.place = at;
    const again = this.chosen === row.id;
    this.chosen = row.id;
    this.mark();
    if (focus) this.link(at).focus({ preventScroll: true });
    const viewer = $("viewer");
    const beside = getComputedStyle(viewer).position === "sticky";
    if (!again) this.choose(row);
    if (focus) (beside ? $("rows").children[at] : viewer).scrollIntoView({ block: "nearest" });
  }

  link(at) {
    return $("rows").children[at]?.querySelector("a");
  }

  /** Where the chosen row is among all, from 1; 0 if it is not on this page. */
  get rank() {
    const at = this.rows.findIndex(({ id }) => id === this.chosen);
    return at < 0 ? 0 : this.offset + at + 1;
  }

  mark() {
    for (const row of $("rows").children) {
      if (row.dataset.id === String(this.chosen)) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
  }

  draw() {
    const body = $("rows");
    const focused = document.activeElement?.closest("#rows tr")?.dataset.id;
    this.drawLines(body);
    if (focused) this.link(Math.max(this.rows.findIndex(({ id }) => String(id) === focused), 0))?.focus({ preventScroll: true });
    for (const heading of $("headings").querySelectorAll("[data-sort]")) {
      const chosen = heading.dataset.sort === this.sort;
      heading.setAttribute("aria-sort", !chosen ? "none" : this.order === "asc" ? "ascending" : "descending");
    }
    const last = this.offset + this.rows.length;
    const all = this.total.toLocaleString("en-GB");
    const lines = { study: ["study", "studies"], patient: ["patient", "patients"] }[this.group];
    $("total").textContent = [all, lines?.[this.total === 1 ? 0 : 1], this.filtered ? "match" : ""].filter(Boolean).join(" ");
    $("where").textContent = `${(this.offset + 1).toLocaleString("en-GB")} to ${last.toLocaleString("en-GB")} of ${all}`;
    $("pages").hidden = this.total <= LIMIT;
    $("previous").disabled = this.offset === 0;
    $("next").disabled = last >= this.total;
    body.parentElement.hidden = !this.rows.length;
    $("nothing").hidden = Boolean(this.rows.length);
    if (!this.rows.length) this.drawNothing();
    if (!performance.getEntriesByName("worklist").length) performance.mark("worklist");
  }

  /** Put the rows into the table; the elements of those that look as before stay, for a click may be under way on one. */
  drawLines(body) {
    const of = `${this.model.name} ${this.model.version}`;
    const there = new Map(this.drawn === of ? [...body.children].map((line) => [line.dataset.id, line]) : []);
    this.drawn = of;
    const lines = this.rows.map((row) => this.line(row, there.get(String(row.id))));
    const kept = new Set(lines);
    for (const line of [...body.children]) if (!kept.has(line)) line.remove();
    for (const [at, line] of lines.entries()) {
      if (body.children[at] !== line) body.insertBefore(line, body.children[at] || null);
    }
  }

  drawNothing() {
    const all = h("button", { type: "button", onclick: () => this.showAll() }, "Show all");
    const parts = this.filtered
      ? [h("p", {}, "No image matches these filters."), all]
      : [
          h("p", {}, "No images yet."),
          h("p", { class: "quiet" }, "Drop images, volumes, zip files or folders on this page, or add them by the buttons above."),
        ];
    $("nothing").replaceChildren(...parts);
  }

  picture(id) {
    const source = `api/images/${id}/picture${query({ model: this.model.name, side: THUMB })}`;
    const picture = h("img", { src: source, alt: "", loading: "lazy", width: THUMB / 2, height: THUMB / 2 });
    picture.addEventListener("error", () => picture.replaceWith(h("span", { class: "no-picture" })));
    return picture;
  }

  /** The line of a row: that of before where nothing has changed, else with its picture, which is not asked for again. */
  line(row, before) {
    const line = this.row(row);
    if (before?.isEqualNode(line)) return before;
    const picture = before?.querySelector("img");
    if (picture) line.querySelector("img")?.replaceWith(picture);
    return line;
  }

  row(row) {
    const picture = row.purged ? h("span", { class: "no-picture" }) : this.picture(row.id);
    const title = titleOf(row, this.group);
    const [patient, study] = brieflyOf(row, this.group);
    const slices = row.kind === "volume" ? `${row.n_parts} slices` : "";
    const file = title === row.name || UID.test(row.name) || this.group ? "" : row.name;
    const about = [patient, [slices, study].filter(Boolean).join(", "), file].filter(Boolean);
    return h(
      "tr",
      { "data-id": row.id, class: row.flagged ? "flagged" : null, "aria-current": row.id === this.chosen ? "true" : null },
      h("td", { class: "thumb" }, picture),
      h(
        "th",
        { scope: "row", class: "name" },
        h("a", { href: `#${new URLSearchParams({ model: this.model.name, image: row.id })}` }, h("bdi", {}, title)),
        row.flagged ? [" ", h("span", { class: "flag" }, "flagged")] : null,
        this.group && row.together ? h("span", { class: "together" }, togetherOf(row.together)) : null,
        about.map((text) => h("span", { class: "quiet" }, text)),
      ),
      this.columns.map((key) => h("td", { class: key }, COLUMNS[key].cell(row, this.model, this.group))),
    );
  }
}
