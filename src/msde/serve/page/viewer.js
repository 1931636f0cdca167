// The selected image: what the model and the readers say of it.

import { Refusal, ask, query } from "./api.js";
import { chart } from "./chart.js";
import { confirmed } from "./dialogs.js";
import { $, calmly, h, later, say } from "./dom.js";
import { Picture } from "./picture.js";
import { VERDICTS, evidenceOf, figure, isLike, pValue, remarks, titleOf, verdictOfModel, when } from "./words.js";

const STRIP = 96;
const NORMAL = 256;
const PAUSE = 1500; // ms between looks at an image that waits to be scored

const SORTS = {
  normals: { place: "alike", alt: (number) => `Normal image ${number + 1}` },
  labelled: { place: "alike-labelled", alt: (number) => `Labelled abnormal image ${number + 1}` },
};
const ORIGINS = { rest: "by upload", stow: "by DICOMweb" };

const ofPatient = ({ words, p_value: p, flagged }) =>
  h(
    "p",
    { id: "case-patient" },
    `${words}. `,
    p === null ? "" : h("span", { class: "quiet" }, `${pValue(p)}.`),
    flagged ? h("span", { class: "flag" }, "patient flagged") : "",
  );

/** `changed(case)` is called after a verdict, `removed()` after a removal, `failed(error)` on trouble. */
export class Viewer {
  constructor({ changed, removed, failed }) {
    Object.assign(this, { changed, removed, failed });
    this.picture = new Picture(failed);
    this.asking = new AbortController();
    this.shown = null;
    this.judged = 0; // verdicts stored
    $("judge").addEventListener("submit", (event) => {
      event.preventDefault();
      // Return in the note would take the first button; it is to be chosen.
      if (event.submitter && document.activeElement !== $("note")) this.judge(event.submitter.value);
      else say("Choose normal, abnormal or unsure to store the note.");
    });
    $("slice").addEventListener("input", () => this.goToSlice(Number($("slice").value) - 1));
    $("remove").addEventListener("click", () => this.remove());
    this.showSlice = calmly(60, (part) => this.showPart(part, true));
    this.findNearest = calmly(250, () => Object.keys(SORTS).forEach((sort) => this.showNearest(sort)));
  }

  /** Show a row of the worklist at once, and all that is known of it when that has come. */
  async show(row, model, place) {
    this.asking.abort();
    const asking = (this.asking = new AbortController());
    this.model = model;
    this.shown = null;
    $("viewer").hidden = !row;
    if (!row) return;
    // Nothing of the image before may stand beside the name of this one.
    this.picture.clear();
    for (const id of ["latest", "verdicts", "history", "strip", ...Object.keys(SORTS)]) $(id).replaceChildren();
    for (const id of ["slices", ...Object.values(SORTS).map(({ place: beside }) => beside)]) $(id).hidden = true;
    $("note").value = "";
    this.drawWords(row, place);
    try {
      const found = await this.known(row.id, asking.signal);
      this.draw(found, place);
      while (this.shown.state === "queued") {
        await later(PAUSE);
        if (asking.signal.aborted) return;
        const again = await this.known(row.id, asking.signal);
        if (again.state === "queued") continue;
        this.draw(again, place);
        this.changed(again, false);
      }
    } catch (error) {
      if (asking.signal.aborted) return;
      this.picture.clear();
      this.failed(error);
    }
  }

  known(id, signal) {
    return ask("GET", `api/images/${id}${query({ model: this.model.name })}`, { signal });
  }

  /** Take a new version, threshold or verdict into what is shown. */
  async renew(model, place) {
    if (!this.shown) return;
    this.model = model;
    const { id } = this.shown;
    const { judged } = this;
    const found = await this.known(id, this.asking.signal).catch(() => null);
    // What was asked before a verdict was stored knows nothing of it.
    if (!found || this.shown?.id !== id || this.judged !== judged) return;
    this.shown = found;
    this.drawWords(found, place);
    this.drawVerdicts(found);
  }

  /** Draw again what depends on the model's curve. */
  redraw(place) {
    if (this.shown) this.drawWords(this.shown, place);
  }

  drawWords(row, place) {
    const [words, p] = verdictOfModel(row);
    $("viewer").className = `${row.kind} ${row.flagged ? "flagged" : ""} ${isLike(row) ? "like" : ""}`;
    $("place").textContent = place;
    $("case-name").replaceChildren(h("bdi", {}, titleOf(row)), row.flagged ? h("span", { class: "flag" }, "flagged") : "");
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
    this.press(row.verdict);
    const message = [place, titleOf(row), row.flagged ? "flagged" : "", words].filter(Boolean).join(", ");
    say(message);
  }

  draw(found, place) {
    this.shown = found;
    this.drawWords(found, place);
    this.drawVerdicts(found);
    const volume = found.n_parts > 1;
    $("slices").hidden = !volume;
    const part = found.top_parts[0]?.part ?? 0;
    if (volume) this.drawStrip(found);
    this.showPart(part, false);
  }

  // Slices

  drawStrip(found) {
    Object.assign($("slice"), { max: found.n_parts });
    const shots = found.top_parts.map(({ part, p_value, anomaly_score }) => {
      const source = `api/images/${found.id}/picture${query({ model: this.model.name, part, side: STRIP })}`;
      const figures = p_value === null ? `score ${figure(anomaly_score)}` : pValue(p_value);
      return h(
        "button",
        { type: "button", "data-part": part, onclick: () => this.goToSlice(part) },
        ...(found.purged ? [] : [h("img", { src: source, alt: "" })]),
        h("span", {}, `Slice ${part + 1}`, h("br"), figures),
      );
    });
    $("strip").replaceChildren(...shots);
  }

  goToSlice(part) {
    this.markSlice(part);
    this.showSlice(part);
  }

  markSlice(part) {
    $("slice").value = part + 1;
    $("slice-says").textContent = `${part + 1} of ${this.shown.n_parts}`;
    $("slice").setAttribute("aria-valuetext", $("slice-says").textContent);
    for (const shot of $("strip").children) shot.setAttribute("aria-pressed", String(Number(shot.dataset.part) === part));
  }

  showPart(part, keep) {
    const { id, name, n_parts: parts, range, has_overlay: hasOverlay } = this.shown;
    this.part = part;
    if (parts > 1) this.markSlice(part);
    if (this.shown.purged) return this.picture.clear();
    const called = parts > 1 ? `${name}, slice ${part + 1}` : name;
    const which = { id, model: this.model.name, version: this.model.version, part: parts > 1 ? part : null };
    this.picture.show({ ...which, name: called, range, hasOverlay }, keep);
    if (this.shown.state === "scored") this.findNearest();
  }

  async showNearest(sort) {
    if (!this.shown || !this.model[`has_${sort}`]) return;
    const { id, n_parts: parts } = this.shown;
    const part = this.part;
    const asked = query({ model: this.model.name, part: parts > 1 ? part : null });
    let found;
    try {
      found = (await ask("GET", `api/images/${id}/${sort}${asked}`, { signal: this.asking.signal }))[sort];
    } catch {
      return; // of little weight beside the image; it is then not compared
    }
    if (this.shown?.id !== id || this.part !== part) return;
    const shown = query({ model: this.model.name, side: NORMAL });
    const { place, alt } = SORTS[sort];
    $(place).hidden = !found.length;
    $(sort).replaceChildren(
      ...found.map(({ number, kind }, rank) =>
        h(
          "figure",
          {},
          h("img", { src: `api/${sort}/${number}/picture${shown}`, alt: alt(number) }),
          h("figcaption", {}, kind ? h("bdi", {}, kind) : rank ? `${rank + 1}.` : "nearest"),
        ),
      ),
    );
  }

  // Verdicts

  press(verdict) {
    for (const button of $("judge").querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.value === verdict));
    }
  }

  drawVerdicts(found) {
    const line = ({ verdict, note, reader, at, model, version, p_value }) => {
      const beside = version === null ? "" : `; ${model} version ${version}${p_value === null ? "" : `, ${pValue(p_value)}`}`;
      return [
        h("strong", {}, VERDICTS[verdict]),
        " by ",
        h("bdi", {}, reader),
        ", ",
        h("time", { datetime: at }, when(at)),
        note ? [": ", h("bdi", {}, note)] : [],
        h("span", { class: "quiet" }, beside),
      ].flat();
    };
    const [latest] = found.verdicts;
    $("latest").replaceChildren(...(latest ? line(latest) : ["No verdict yet."]));
    $("verdicts").replaceChildren(...found.verdicts.map((one) => h("li", {}, line(one))));
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

  async judge(verdict) {
    if (this.judging || $("viewer").hidden) return;
    if (!this.shown) return this.failed(new Refusal("Not stored: the image had not been loaded. Give the verdict again."));
    const { id } = this.shown;
    this.judging = true;
    try {
      const body = { verdict, note: $("note").value.trim() };
      const given = await ask("POST", `api/images/${id}/verdicts${query({ model: this.model.name })}`, { body });
      this.judged += 1;
      say(`Stored: ${given.verdict}, by ${given.reader}, ${when(given.at)}.`);
      if (this.shown?.id !== id) return;
      $("note").value = "";
      this.shown.verdict = verdict;
      this.shown.verdicts.unshift(given);
      this.press(verdict);
      this.drawVerdicts(this.shown);
      this.changed(this.shown, true);
    } catch (error) {
      this.failed(error);
    } finally {
      this.judging = false;
    }
  }

  async remove() {
    const { id, name } = this.shown;
    const text = `${name}: its file, scores and verdicts go for good; the audit log keeps that it was here.`;
    if (!(await confirmed("Remove this image?", text, "Remove"))) return;
    try {
      await ask("DELETE", `api/images/${id}`);
    } catch (error) {
      this.failed(error);
      return;
    }
    say(`${name} was removed.`);
    this.removed();
  }
}
