// The worklist: one page of rows, sorted and filtered by the service.

import { ask, query } from "./api.js";
import { $, calmly, h, say } from "./dom.js";
import { VERDICTS, evidenceOf, figure, remarks, verdictOfModel, when } from "./words.js";

const LIMIT = 50;
const FAR = 500; // rows that are looked through at once for one without a verdict
const THUMB = 112; // px, twice what it is shown at
const DESCENDING = ["anomaly_score", "arrived"]; // at the first click

const filters = $("filters");

/** `choose(row)` is called with the row to show, or null; `failed(error)` with what went wrong. */
export class Worklist {
  constructor(choose, failed) {
    this.choose = choose;
    this.failed = failed;
    this.model = null;
    this.sort = "p_value";
    this.order = "asc";
    this.offset = 0;
    this.total = 0;
    this.rows = [];
    this.chosen = null; // id
    this.place = 0; // of the chosen row, or where it was
    this.wanted = { last: false, image: null };
    this.asking = new AbortController();
    filters.addEventListener("input", calmly(250, () => this.from(0)));
    filters.addEventListener("submit", (event) => event.preventDefault());
    $("previous").addEventListener("click", () => this.from(this.offset - LIMIT));
    $("next").addEventListener("click", () => this.from(this.offset + LIMIT));
    $("rows").addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (event.target.closest("a")) event.preventDefault();
      if (row) this.take(this.rows.findIndex(({ id }) => String(id) === row.dataset.id), true);
    });
    for (const heading of document.querySelectorAll("th[data-sort] button")) {
      heading.addEventListener("click", () => this.sortBy(heading.parentElement.dataset.sort));
    }
  }

  get filtered() {
    return [...new FormData(filters).values()].some(Boolean);
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

  /** Show the row of an image, whatever is filtered. */
  find(image, name) {
    filters.reset();
    filters.elements.search.value = name;
    $("worklist").scrollIntoView({ block: "start" });
    return this.from(0, { image });
  }

  showAll() {
    filters.reset();
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
    this.total = page.total;
    this.draw();
    if (!this.rows.length) {
      this.chosen = null;
      this.choose(null);
    } else if (this.chosen === null) {
      const at = this.rows.findIndex(({ id }) => id === this.wanted.image);
      this.take(at >= 0 ? at : this.wanted.last ? this.rows.length - 1 : Math.min(this.place, this.rows.length - 1), false);
    } else this.mark();
  }

  page(offset, limit, signal) {
    const { model, sort, order } = this;
    const asked = { model: model.name, ...Object.fromEntries(new FormData(filters)), sort, order, limit, offset };
    return ask("GET", `api/images${query(asked)}`, { signal });
  }

  /** Go on to the next image without a verdict, beyond the page too; from the top where there is none below. */
  async toUnread() {
    const at = this.rows.findIndex(({ id }) => id === this.chosen);
    const below = this.offset + (at < 0 ? this.place : at + 1);
    const place = (await this.unread(below, this.total)) ?? (await this.unread(0, below));
    if (place === null) return say("No image of this list is without a verdict.");
    if (place < this.offset || place >= this.offset + this.rows.length) {
      await this.from(LIMIT * Math.floor(place / LIMIT), { at: place % LIMIT });
      this.link(this.place)?.focus({ preventScroll: true });
    } else this.take(place - this.offset, true);
  }

  /** The place of the first image without a verdict among those from one place to before another; null for none. */
  async unread(from, to) {
    const without = ({ verdict }) => !verdict;
    const near = this.rows.findIndex((row, at) => this.offset + at >= from && this.offset + at < to && without(row));
    if (near >= 0) return this.offset + near;
    for (let place = from; place < to; place += FAR) {
      const { rows } = await this.page(place, FAR);
      const at = rows.findIndex(without);
      if (at >= 0 && place + at < to) return place + at;
    }
    return null;
  }

  /** Put a case that has changed into its row. */
  renew(changed) {
    const at = this.rows.findIndex(({ id }) => id === changed.id);
    if (at < 0) return;
    this.rows[at] = changed;
    const before = $("rows").children[at];
    const had = before.contains(document.activeElement);
    before.replaceWith(this.row(changed));
    if (had) this.link(at).focus({ preventScroll: true });
    this.mark();
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
    body.replaceChildren(...this.rows.map((row) => this.row(row)));
    if (focused) this.link(Math.max(this.rows.findIndex(({ id }) => String(id) === focused), 0))?.focus({ preventScroll: true });
    for (const heading of document.querySelectorAll("th[data-sort]")) {
      const chosen = heading.dataset.sort === this.sort;
      heading.setAttribute("aria-sort", !chosen ? "none" : this.order === "asc" ? "ascending" : "descending");
    }
    const last = this.offset + this.rows.length;
    const of = this.total.toLocaleString("en-GB");
    $("total").textContent = this.filtered ? `${of} match` : of;
    $("where").textContent = `${(this.offset + 1).toLocaleString("en-GB")} to ${last.toLocaleString("en-GB")} of ${of}`;
    $("pages").hidden = this.total <= LIMIT;
    $("previous").disabled = this.offset === 0;
    $("next").disabled = last >= this.total;
    body.parentElement.hidden = !this.rows.length;
    $("nothing").hidden = Boolean(this.rows.length);
    if (!this.rows.length) this.drawNothing();
    if (!performance.getEntriesByName("worklist").length) performance.mark("worklist");
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

  row(row) {
    const [words, p] = verdictOfModel(row);
    const source = `api/images/${row.id}/picture${query({ model: this.model.name, side: THUMB })}`;
    const none = () => h("span", { class: "no-picture" });
    const picture = row.purged ? none() : h("img", { src: source, alt: "", loading: "lazy", width: THUMB / 2, height: THUMB / 2 });
    picture.addEventListener("error", () => picture.replaceWith(none()));
    const about = [row.kind === "volume" ? `${row.n_parts} slices` : null, row.format, row.modality === "other" ? null : row.modality];
    return h(
      "tr",
      { "data-id": row.id, class: row.flagged ? "flagged" : null },
      h("td", { class: "thumb" }, picture),
      h(
        "th",
        { scope: "row", class: "name" },
        h("a", { href: `#image=${row.id}` }, h("bdi", {}, row.name)),
        row.flagged ? [" ", h("span", { class: "flag" }, "flagged")] : null, // a space, so that it is read as two words
        h("br"),
        h("span", { class: "quiet" }, about.filter(Boolean).join(", ")),
      ),
      h(
        "td",
        { class: "often" },
        words,
        p ? h("span", { class: "quiet" }, ` ${p}.`) : null,
        evidenceOf(row) ? h("span", { class: "quiet evidence" }, ` ${evidenceOf(row)}`) : null,
        remarks(row, this.model.version).map((text) => h("span", { class: "quiet" }, ` ${text}`)),
      ),
      h("td", { class: "score" }, row.anomaly_score === null ? "" : figure(row.anomaly_score)),
      h(
        "td",
        { class: "verdict" },
        row.verdict ? h("span", { class: `given ${row.verdict}` }, VERDICTS[row.verdict]) : "–",
        row.readers > 1 ? h("span", { class: "quiet" }, ` by ${row.readers}`) : null,
      ),
      h("td", { class: "arrived" }, h("time", { datetime: row.arrived }, when(row.arrived))),
    );
  }
}
