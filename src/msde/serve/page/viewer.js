// The selected image: what the model and the readers say of it.

import { ask, query } from "./api.js";
import { chart } from "./chart.js";
import { Comparison } from "./comparison.js";
import { confirmed } from "./dialogs.js";
import { $, h, later, say } from "./dom.js";
import { Marks } from "./marks.js";
import { drawOpinions } from "./opinions.js";
import { Picture } from "./picture.js";
import { Readings } from "./readings.js";
import { Slices } from "./slices.js";
import { Pane, Viewport } from "./viewport.js";
import { evidenceOf, figure, isLike, pValue, remarks, titleOf, verdictOfModel, when } from "./words.js";

const PAUSE = 700; // ms between looks at an image that waits to be scored

const ORIGINS = { rest: "by upload", stow: "by DICOMweb" };

const ofPatient = ({ words, p_value: p, flagged }) =>
  h(
    "p",
    { id: "case-patient" },
    `${words}. `,
    p === null ? "" : h("span", { class: "quiet" }, `${pValue(p)}.`),
    ...(flagged ? [" ", h("span", { class: "flag" }, "patient flagged")] : []),
  );

/**
 * `changed(case, given)` is called after a score, a verdict (true) or its withdrawal (false), `removed()` after a removal,
 * `open(model)` to look at the image by another model, `failed(error)` on trouble.
 */
export class Viewer {
  constructor({ changed, removed, open, failed }) {
    Object.assign(this, { changed, removed, open, failed });
    this.slices = new Slices((part) => this.showPart(part, true));
    const panes = [new Pane($("stage")), new Pane($("stage-beside"))];
    this.comparison = new Comparison(panes[1]);
    this.picture = new Picture({ windowed: (window) => this.comparison.windowed(window), failed });
    this.marks = new Marks(panes[0], failed);
    this.viewport = new Viewport(panes, {
      acts: {
        window: (event) => this.picture.windowing(event),
        length: this.marks.act("length"),
        region: this.marks.act("region"),
      },
      turn: (by) => this.slices.step(by),
      leads: (way) => this.slices.leads(way),
      changed: (view) => this.drawZoom(view),
    });
    this.asking = new AbortController();
    this.shown = null;
    this.judged = 0; // verdicts stored
    this.readings = new Readings({
      looked: () => this.shown,
      again: () => this.renew(this.model, $("place").textContent),
      stored: (found, given) => {
        this.judged += 1;
        changed(found, given);
      },
      failed,
    });
    $("remove").addEventListener("click", () => this.remove());
    this.listen();
  }

  // The bar above the picture, and its keys

  listen() {
    const clicks = {
      "zoom-in": () => this.viewport.zoomBy(1),
      "zoom-out": () => this.viewport.zoomBy(-1),
      invert: () => this.picture.invert(),
      reset: () => this.reset(),
      enlarge: () => this.picture.enlarge(),
    };
    for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", act);
    for (const button of document.querySelectorAll("[data-use]")) {
      button.addEventListener("click", ({ detail }) => this.use(button.dataset.use, detail === 0));
    }
    $("stage").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.target !== $("stage") || !this.marks.addInMiddle(this.viewport.tool)) return;
      event.preventDefault();
    });
    document.addEventListener("fullscreenchange", () => {
      $("enlarge").textContent = document.fullscreenElement ? "Leave full screen" : "Full screen";
    });
  }

  /** Choose what a drag on the picture does; by keyboard, the picture is then at hand. */
  use(tool, byKeyboard) {
    this.viewport.use(tool);
    for (const button of document.querySelectorAll("[data-use]")) {
      button.setAttribute("aria-pressed", String(button.dataset.use === tool));
    }
    if (!byKeyboard) return;
    $("stage").focus({ preventScroll: true });
    const draws = ["length", "region"].includes(tool);
    say(`${tool}: drag on the picture${draws ? ", or press Enter for one in its middle, which arrow keys change" : ""}.`);
  }

  reset() {
    this.viewport.moveTo(0.5, 0.5, 1);
    this.picture.reset();
    if (this.picture.inverted) this.picture.invert();
    this.marks.clear();
    say("As it was.");
  }

  /** What keys do with the picture; true where they did something. */
  get keys() {
    const tools = { l: "length", r: "region", p: "pan", d: "window" };
    const numbered = Array.from({ length: 9 }, (_, at) => [String(at + 1), () => this.picture.choose(at)]);
    return {
      ...Object.fromEntries(numbered),
      ...Object.fromEntries(Object.entries(tools).map(([key, tool]) => [key, () => this.use(tool, true)])),
      "+": () => this.viewport.zoomBy(1),
      "=": () => this.viewport.zoomBy(1),
      "-": () => this.viewport.zoomBy(-1),
      0: () => this.reset(),
      i: () => this.picture.invert(),
      h: () => this.slices.hottest(),
      c: () => this.comparison.toggle(),
    };
  }

  /** Slices by arrow keys; with Shift, and where there are none, the enlarged picture moves. */
  arrow({ key, shiftKey }) {
    if ($("viewer").hidden) return false;
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
    if (!shiftKey && this.slices.byKey(key)) return true;
    return Boolean(by) && this.viewport.shift(...by);
  }

  drawZoom({ zoom }) {
    $("zoom-says").textContent = zoom === 1 ? "fits" : `${zoom.toFixed(1)} ×`;
    $("zoom-out").disabled = zoom === 1;
    this.marks.draw();
    const pane = this.viewport?.panes[0];
    if (pane) this.picture.sharpen(Math.max(...pane.fit) * zoom * devicePixelRatio);
  }

  /** Show a row of the worklist at once, and all that is known of it when that has come. */
  async show(row, model, place) {
    this.asking.abort();
    const asking = (this.asking = new AbortController());
    this.model = this.readings.model = model;
    this.shown = null;
    $("viewer").hidden = !row;
    if (!row) return;
    // Nothing of the image before may stand beside the name of this one.
    this.clear();
    $("history").replaceChildren();
    $("opinions").hidden = true;
    this.readings.clear();
    this.drawWords(row, place);
    try {
      const found = await this.known(row.id, asking.signal);
      this.draw(found, place);
      while (this.shown.state === "queued") {
        await later(PAUSE);
        if (asking.signal.aborted) return;
        if (document.hidden) continue;
        const again = await this.known(row.id, asking.signal);
        if (again.state === "queued") continue;
        this.draw(again, place);
        this.changed(again, null);
      }
    } catch (error) {
      if (asking.signal.aborted) return;
      this.clear();
      this.failed(error);
    }
  }

  clear() {
    this.picture.clear();
    this.slices.clear();
    this.comparison.clear();
    this.marks.of(null);
  }

  known(id, signal) {
    return ask("GET", `api/images/${id}${query({ model: this.model.name })}`, { signal });
  }

  /** Take a new version, threshold or verdict into what is shown. */
  async renew(model, place) {
    if (!this.shown || this.model.name !== model.name) return;
    this.model = this.readings.model = model;
    const { id } = this.shown;
    const { judged } = this;
    const found = await this.known(id, this.asking.signal).catch(() => null);
    // What was asked before a verdict was stored knows nothing of it.
    if (!found || this.shown?.id !== id || this.judged !== judged) return;
    this.shown = found;
    this.drawWords(found, place);
    this.readings.draw(found);
    this.drawHistory(found);
  }

  /** Draw again what depends on the model's curve. */
  redraw(place) {
    if (this.shown) this.drawWords(this.shown, place);
  }

  drawWords(row, place) {
    const [words, p] = verdictOfModel(row);
    $("viewer").className = `${row.kind} ${row.flagged ? "flagged" : ""} ${isLike(row) ? "like" : ""}`;
    $("place").textContent = place;
    $("name-shown").textContent = titleOf(row); // on the full screen, where the heading is not
    $("case-name").replaceChildren(
      h("bdi", { title: row.name }, titleOf(row)),
      ...(row.flagged ? [" ", h("span", { class: "flag" }, "flagged")] : []), // a space, so that it is read as two words
    );
    $("case-words").replaceChildren(words, p ? h("span", { class: "quiet" }, ` ${p}.`) : "");
    const said = [evidenceOf(row), ...remarks(row, this.model.version)].filter(Boolean);
    const notes = said.map((text) => h("p", { class: "quiet" }, text));
    $("case-notes").replaceChildren(...notes, ...(row.patient ? [ofPatient(row.patient)] : []));
    const score = row.anomaly_score;
    const drawn = score !== null && row.kind === "image" && this.model.curve.length;
    const limit = row.threshold === null ? "" : `, flagged above ${figure(row.threshold)}`;
    $("case-chart").replaceChildren(
      ...(drawn ? [chart(this.model.curve, this.model.threshold, score)] : []),
      ...(score === null ? [] : [h("span", {}, `Score ${figure(score)}${limit}`)]),
    );
    const message = [place, titleOf(row), row.flagged ? "flagged" : "", words].filter(Boolean).join(", ");
    if (message !== this.told) say(message); // what is drawn again for others' sake is not said again
    this.told = message;
  }

  draw(found, place) {
    this.shown = found;
    this.drawWords(found, place);
    this.readings.draw(found);
    this.drawHistory(found);
    this.slices.of(found, this.model.name);
    this.showPart(this.slices.part, false);
  }

  showPart(part, keep) {
    const { id, name, n_parts: parts, range, spacing, has_overlay: hasOverlay, width, height } = this.shown;
    if (this.shown.purged) return this.picture.clear();
    const volume = parts > 1;
    const called = volume ? `${name}, slice ${part + 1}` : name;
    const which = { id, model: this.model.name, part: volume ? part : null };
    const size = width ? [width, height] : null;
    if (!keep) {
      const { rows, columns } = spacing || { rows: 1, columns: 1 };
      if (size) this.viewport.panes[0].of(width * columns, height * rows);
      this.viewport.moveTo(0.5, 0.5, 1);
    }
    const { version } = this.model;
    this.picture.show({ ...which, version, name: called, range, size, hasOverlay }, keep);
    this.marks.of(size && { ...which, width, height, spacing, unit: range?.unit, gray: Boolean(range) });
    const has = { normals: this.model.has_normals, labelled: this.model.has_labelled };
    if (this.shown.state === "scored") this.comparison.of({ ...which, range, has });
    this.picture.prepare(this.slices.next);
    this.drawZoom(this.viewport.view);
  }

  // What became of it

  drawHistory(found) {
    drawOpinions(found, this.model.name, this.open);
    const scored = found.history.map(({ version, anomaly_score: score, p_value: p, scored: at }) => {
      const figures = score === null ? "no score" : `score ${figure(score)}${p === null ? "" : `, ${pValue(p)}`}`;
      return h("li", {}, `Version ${version}: ${figures}${at ? `, ${when(at)}` : ""}`);
    });
    const size = found.width ? `, ${found.width} × ${found.height} px` : "";
    const origin = ORIGINS[found.origin] || `by ${found.origin}`;
    $("history").replaceChildren(
      ...scored,
      h("li", {}, `Arrived ${when(found.arrived)}, ${origin}; ${found.format}${size}`),
    );
  }

  async remove() {
    const { shown } = this;
    const { id, name } = shown;
    const text = `${name}: its file, scores and verdicts go for good; the audit log keeps that it was here.`;
    if (!(await confirmed("Remove this image?", text, "Remove")) || this.shown?.id !== id) return;
    // Nothing more is asked of an image that is going.
    this.asking.abort();
    this.shown = null;
    this.clear();
    try {
      await ask("DELETE", `api/images/${id}`);
    } catch (error) {
      this.show(shown, this.model, $("place").textContent);
      this.failed(error);
      return;
    }
    say(`${name} was removed.`);
    this.removed();
  }
}
