// A new version from the readers' verdicts: what it would change, before an admin makes it current, and the way back.

import { ask } from "./api.js";
import { confirmed } from "./dialogs.js";
import { $, h, later, say } from "./dom.js";
import { roc, sample } from "./roc.js";
import { capital, counted, figure, pValue, when } from "./words.js";

const AGAIN = 1000; // ms between looks at what is under way
const CALLED = { true: "abnormal", false: "normal" };

const fixed = (value, digits) => value.toFixed(digits);
const signed = (value) => `${value < 0 ? "\u2212" : "+"}${fixed(Math.abs(value), 3)}`;
const between = (value, interval, scale, digits) => {
  if (value === null) return ["not known"];
  const [low, high] = interval.map((end) => fixed(scale * end, digits));
  return [`${fixed(scale * value, digits)} `, h("span", { class: "interval" }, `(${low}\u2013${high})`)];
};

/** `use(version, insteadOf)` makes one current, `rescore()` scores by it, `open(image)` shows an image, `failed(error)` on trouble. */
export class LearningPanel {
  constructor({ use, rescore, open, failed }) {
    Object.assign(this, { use, rescore, open, failed });
    this.model = null;
    this.proposal = null;
    this.looking = false;
    $("learning").addEventListener("toggle", () => this.look());
    $("learning-start").addEventListener("click", () => this.start());
    $("proposal-use").addEventListener("click", () => this.makeCurrent());
    $("proposal-back").addEventListener("click", () => this.use(this.proposal.before, this.proposal.version));
    $("proposal-rescore").addEventListener("click", () => this.rescore());
  }

  /** Show a model, or what has changed of it. */
  show(model) {
    this.model = model;
    this.look();
  }

  /** Ask how it stands, and again while something is under way. */
  async look() {
    if (!$("learning").open || this.looking || document.body.dataset.role !== "admin") return;
    this.looking = true;
    try {
      while (await this.draw()) await later(AGAIN);
    } catch (error) {
      this.failed(error);
    } finally {
      this.looking = false;
    }
  }

  ask(method) {
    return ask(method, `api/models/${encodeURIComponent(this.model.name)}/learn`);
  }

  async start() {
    const text =
      "The model is fitted again, to its normals and to what readers have confirmed. That makes a new version, which is not" +
      " used before you make it current; what it would change is shown first.";
    if (!(await confirmed("Learn from verdicts?", text, "Learn"))) return;
    $("learning-start").disabled = true;
    say("Learning from verdicts.");
    try {
      await this.ask("POST");
    } catch (error) {
      this.failed(error);
    }
    await this.look();
  }

  async makeCurrent() {
    const { version } = this.proposal;
    const inUse = this.model.version; // by the time of the answer it may be another
    const text =
      `${this.unused()}Images that come are scored by version ${version} from then on; those that are here keep their scores until they are` +
      ` scored again. Version ${inUse} is kept, and one click brings it back.`;
    if (await confirmed(`Make version ${version} current?`, text, "Make current")) await this.use(version, inUse);
  }

  /** Say so where a proposal is compared with a version that it would not replace. */
  unused() {
    const { before, version } = this.proposal;
    const inUse = this.model.version;
    return inUse === before || inUse === version ? "" : `Version ${version} compares with version ${before}, which is not in use. `;
  }

  /** Draw how it stands; return whether to ask again. */
  async draw() {
    const { model } = this;
    const known = await this.ask("GET");
    if (model !== this.model) return true; // another is shown by now
    const { proposal, lacks, contradicted } = known;
    const runs = proposal?.state === "running";
    const ready = proposal?.state === "ready";
    if (ready && this.proposal?.state === "running") say(`Version ${proposal.version} is proposed.`);
    this.proposal = proposal;
    const normals = counted(known.confirmed_normals, "image");
    const abnormals = known.confirmed_abnormals.toLocaleString("en-GB");
    $("learning-says").replaceChildren(
      `Readers call ${normals} normal and ${abnormals} abnormal, volumes aside. `,
      lacks
        ? `${capital(lacks)}.`
        : "The model can learn from them: what is like the abnormal ones then scores higher, and the normal ones count as normals.",
    );
    if (contradicted.length) {
      $("learning-says").append(" Left out, because readers contradict each other: ", ...this.links(contradicted), ".");
    }
    $("learning-start").disabled = Boolean(lacks) || runs;
    $("learning-progress").hidden = !runs;
    $("learning-progress").value = runs ? proposal.progress : 0;
    $("learning-trouble").hidden = proposal?.state !== "failed";
    $("learning-trouble").textContent = proposal?.error ? `No new version: ${proposal.error}.` : "";
    $("proposal").hidden = !ready;
    if (ready) this.drawProposal(proposal);
    return runs;
  }

  drawProposal({ before, version, comparison, made_by: by, at }) {
    const { old, new: fresh, changed, unsure } = comparison;
    const current = this.model.version === version;
    $("proposal-title").textContent = `Version ${version}: ${current ? "in use" : "proposed, not in use"}`;
    const abnormals = counted(comparison.n_abnormal, "abnormal image");
    const normals = counted(comparison.n_normal, "normal image");
    $("proposal-how").textContent =
      `${this.unused()}Learnt by ${by}, ${when(at)}, from ${abnormals} and ${normals} of ${counted(comparison.n_patients, "patient")}. Each of these is` +
      " judged here by fits that have seen nothing of its patient; in brackets 95\u00a0% intervals.";
    $("proposal-old").textContent = `Version ${before}`;
    $("proposal-new").textContent = `Version ${version}`;
    const rows = [
      ["AUROC", "auroc", 1, 3],
      [`Flags in 1,000 normal images (target ${figure(1000 * comparison.alpha)})`, "flags_per_1000", 1, 0],
      ["Abnormal images flagged, %", "sensitivity", 100, 0],
    ];
    $("proposal-figures").replaceChildren(
      ...rows.map(([name, key, scale, digits]) => {
        const cells = [old, fresh].map((one) => h("td", {}, between(one[key], one[`${key}_ci`], scale, digits)));
        return h("tr", {}, h("th", { scope: "row" }, name), cells);
      }),
    );
    this.drawDifference(comparison);
    const notes = [...comparison.notes, ...(unsure ? [`${counted(unsure, "image")} left out, of which readers are unsure`] : [])];
    $("proposal-notes").replaceChildren(...notes.map((note) => h("li", {}, `${capital(note)}.`)));
    const change = changed.length === 1 ? "changes" : "change";
    $("proposal-sides").textContent = `${counted(changed.length, "image")} with a verdict ${change} sides`;
    $("proposal-changed").replaceChildren(...changed.map((one) => this.changedRow(one)));
    const areas = [old, fresh].map((one) => fixed(one.auroc, 3));
    const label = `ROC curves; AUROC ${areas[0]} of version ${before}, ${areas[1]} of version ${version}`;
    $("proposal-roc").replaceChildren(roc(old.roc, fresh.roc, label));
    $("proposal-legend").replaceChildren(
      h("span", {}, sample("old"), ` Version ${before}`),
      h("span", {}, sample("new"), ` Version ${version}`),
    );
    $("proposal-use").textContent = `Make version ${version} current`;
    $("proposal-use").hidden = current;
    $("proposal-back").textContent = `Use version ${before} again`;
    $("proposal-back").hidden = $("proposal-rescore").hidden = !current;
  }

  drawDifference({ old, difference, difference_ci: [low, high] }) {
    const chosen = old.flags_per_1000 === null; // by their flags, so the figure is of no use for the images that come
    const meaning = chosen ? " That holds for these alone, see below." : low > 0 ? "" : high < 0 ? " The new version is worse." : " That may be chance.";
    $("proposal-difference").replaceChildren(
      h(chosen ? "span" : "strong", {}, `AUROC ${signed(difference)}`),
      `${chosen ? " among the images looked at" : ""} (95\u00a0% interval ${signed(low)} to ${signed(high)}).${meaning}`,
    );
  }

  changedRow(one) {
    const called = CALLED[one.abnormal];
    const right = one.now_flagged === one.abnormal ? "rightly" : "wrongly";
    const p = `${pValue(one.old_p_value)}, now ${Number(one.new_p_value.toPrecision(2))}`;
    return h(
      "li",
      {},
      this.link(one),
      ` (${called}): ${one.now_flagged ? "flagged now" : "not flagged any more"}, ${right} `,
      h("span", { class: "quiet" }, `(${p})`),
    );
  }

  links(images) {
    return images.flatMap((one, place) => (place ? [", ", this.link(one)] : [this.link(one)]));
  }

  link({ image, name }) {
    const go = (event) => {
      event.preventDefault();
      this.open(image);
    };
    return h("a", { href: `#${new URLSearchParams({ model: this.model.name, image })}`, onclick: go }, h("bdi", {}, name));
  }
}
