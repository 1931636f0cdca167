// The model in use: threshold, false alarms, drift and versions.

import { ask, query } from "./api.js";
import { chart } from "./chart.js";
import { confirmed } from "./dialogs.js";
import { $, calmly, h, say } from "./dom.js";
import { counted, falseAlarms, figure, percent, when } from "./words.js";

const RATES = [0.001, 0.002, 0.003, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5];
const TOLERANCE = 1e-9; // rates are decimals, what can be resolved a fraction
const slider = $("rate");

/** `changed(model)` is called when version or threshold are others, `failed(error)` on trouble. */
export class ModelPanel {
  constructor({ changed, failed }) {
    Object.assign(this, { changed, failed });
    this.model = null;
    slider.addEventListener("input", () => this.preview());
    $("rate-apply").addEventListener("click", () => this.setRate(this.rate));
    $("rate-own").addEventListener("click", () => this.setRate(null));
    $("rate-back").addEventListener("click", () => this.back());
    $("recalibrate").addEventListener("click", () => this.recalibrate());
    $("rescore").addEventListener("click", () => this.rescore());
    this.countPreview = calmly(150, () => this.tallyAt(this.rate));
  }

  /** Show a model, with its curve. */
  show(model) {
    const before = this.model;
    this.model = model;
    const rates = RATES.filter((rate) => rate >= model.resolution - TOLERANCE);
    this.rates = [...new Set([...rates, model.alpha, model.own_alpha])].sort((a, b) => a - b);
    slider.max = this.rates.length - 1;
    if (before?.name !== model.name || before?.alpha !== model.alpha || before?.version !== model.version) this.back();
    $("rate-own").textContent = `The model's own rate, ${percent(model.own_alpha)}`;
    $("colours-say").textContent = model.colours ? `${model.colours}.` : "";
    $("version").textContent = `version ${model.version}`;
    $("threshold").firstElementChild.textContent = `Threshold: flags ${percent(model.alpha)} of normals`;
    this.drawVersions();
  }

  get rate() {
    return this.rates[Number(slider.value)];
  }

  get needed() {
    return Math.ceil(1 / this.model.alpha - TOLERANCE) - 1;
  }

  back() {
    slider.value = this.rates.indexOf(this.model.alpha);
    this.preview();
  }

  // Threshold and tally

  preview() {
    const rate = this.rate;
    const inUse = rate === this.model.alpha;
    const few = rate < this.model.resolution - TOLERANCE;
    const text = few
      ? `${percent(rate)}: too few held-out normals to flag any image`
      : `${percent(rate)}: of 100 normal images, about ${figure(100 * rate)} would be flagged`;
    $("rate-says").textContent = text + (inUse ? " (in use)" : "");
    slider.setAttribute("aria-valuetext", $("rate-says").textContent);
    $("rate-apply").disabled = $("rate-back").disabled = inUse;
    $("rate-own").disabled = this.model.alpha === this.model.own_alpha;
    this.countPreview();
  }

  async tallyAt(alpha) {
    if (!$("threshold").open) return;
    try {
      const tally = await this.count(alpha);
      if (alpha !== this.rate) return;
      const score = tally.threshold === null ? "" : `Flagged above a score of ${figure(tally.threshold)}. `;
      const here = `${tally.flagged.toLocaleString("en-GB")} of ${counted(tally.images, "image")} flagged`;
      $("rate-tally").textContent = `${score}Here: ${here}; false alarms: ${falseAlarms(tally)}.`;
      $("rate-sure").textContent = [tally.sure, tally.told].filter(Boolean).join(" ");
      $("rate-chart").replaceChildren(chart(this.model.curve, tally.threshold, null));
    } catch (error) {
      this.failed(error);
    }
  }

  count(alpha) {
    return ask("GET", `api/models/${encodeURIComponent(this.model.name)}/tally${query({ alpha })}`);
  }

  /** Count flags and false alarms anew; tell of drift. */
  async refresh() {
    const { name } = this.model;
    try {
      const [tally, drift] = await Promise.all([
        this.count(this.model.alpha),
        ask("GET", `api/models/${encodeURIComponent(name)}/drift`),
      ]);
      if (this.model.name !== name) return;
      this.drawTally(tally);
      this.drawPairs(tally);
      this.drawDrift(drift);
      if ($("threshold").open) this.countPreview();
    } catch (error) {
      this.failed(error);
    }
  }

  drawTally(tally) {
    if (!tally.images) {
      $("tally").textContent = `No image has a p-value yet. Expected false alarms: ${percent(tally.expected)} of normals.`;
      return;
    }
    const found = tally.confirmed_abnormals
      ? ` Of ${counted(tally.confirmed_abnormals, "confirmed abnormal image")}, ${tally.found.toLocaleString("en-GB")} flagged.`
      : "";
    $("tally").replaceChildren(
      h("strong", {}, `${tally.flagged.toLocaleString("en-GB")} of ${counted(tally.images, "image")} flagged.`),
      " False alarms: ",
      h("strong", {}, falseAlarms(tally)),
      `; expected ${percent(tally.expected)}.${found}`,
    );
  }

  /** Tell how far readers agree, where an image has several. */
  drawPairs({ pairs, disputed }) {
    $("agreement").hidden = !pairs.length;
    $("disputed-says").textContent = disputed ? `${counted(disputed, "image")} disputed: no label until readers agree.` : "";
    const kappaOf = ({ kappa, interval }) =>
      kappa === null ? "–: both say one word of all" : `${kappa.toFixed(2)} (${interval.map((end) => end.toFixed(2)).join(" to ")})`;
    $("pairs").replaceChildren(
      ...pairs.map((pair) => {
        const [one, other] = pair.readers.map((name) => h("bdi", {}, name));
        const cells = [String(pair.images), `${pair.agreed} (${percent(pair.agreed / pair.images)})`, kappaOf(pair)];
        return h("tr", {}, h("th", { scope: "row" }, one, " and ", other), cells.map((text) => h("td", {}, text)));
      }),
    );
  }

  drawDrift({ found, distance, explained, higher, unseen_rate: unseenRate, images }) {
    $("drift").hidden = !found;
    const meaning = higher
      ? "Either over a tenth are abnormal, or their source is another and p-values are wrong"
      : "Their source is another, and what is abnormal may go unflagged";
    const rise = unseenRate < 1 ? `, or a rise of false alarms from ${percent(this.model.alpha)} to less than ${percent(unseenRate)}` : "";
    const text =
      `The scores of the latest ${counted(images, "image")} are ${higher ? "higher, a tenth of abnormal images granted," : "lower"}` +
      ` by ${distance.toFixed(2)} (Kolmogorov-Smirnov), of which chance explains ${explained.toFixed(2)}. ${meaning} until the model` +
      ` is recalibrated on normals of it. Not seen: what leaves scores as they are, what concerns few images${rise}.`;
    if (found && $("drift-says").textContent !== text) $("drift-says").textContent = text; // said once
  }

  async setRate(alpha) {
    await this.request("PUT", "threshold", { alpha }, (model) => `Images are now flagged at ${percent(model.alpha)}.`);
  }

  // Versions

  drawVersions() {
    const { model } = this;
    const confirmedNormals = counted(model.confirmed_normals, "image");
    const enough = model.confirmed_normals >= this.needed;
    $("recalibrate").disabled = !enough;
    $("recalibrate-says").textContent =
      `Readers call ${confirmedNormals} normal` +
      (enough
        ? ". Recalibrated on them, p-values hold for images from the same source; that makes a new version, and this one is kept."
        : `; to recalibrate at a false-alarm rate of ${percent(model.alpha)}, at least ${this.needed} are needed.`);
    const rows = model.versions.toReversed().map((one) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, String(one.version)),
        h("td", {}, when(one.at)),
        h("td", {}, one.made_by || "–"),
        h("td", {}, one.origin),
        h("td", {}, one.normals.toLocaleString("en-GB")),
        h("td", {}, h("code", { title: one.sha256 }, one.sha256.slice(0, 12))),
        h("td", {}, this.useOf(one.version)),
      ),
    );
    $("versions").replaceChildren(...rows);
    $("learnt-from").textContent = model.labelled
      ? "The model has learnt from normal images, and from images that were labelled abnormal: scores are high where an image is unlike the former or like the latter."
      : "The model has learnt from normal images alone: scores are high where an image is unlike them.";
    const { training, calibration, encoder, images } = model.info;
    const facts = {
      "Fitted on": counted(training.images, "normal image"),
      ...(model.labelled ? { "And on": model.labelled } : {}),
      For: model.info.applies_to ? `${model.info.applies_to.to.map((kind) => kind.replace(":", " of ")).join(", ")}; others are not scored` : "any image",
      ...(calibration.patients ? { "Calibrated on patients": calibration.patients.toLocaleString("en-GB") } : {}),
      "Lowest p-value possible": String(Number(model.resolution.toPrecision(2))),
      Networks: encoder.backbones.map(({ name, licence }) => `${name} (${licence})`).join("; "),
      "Intensities and aspect": `${images.intensity}, ${images.aspect}`,
      Overlays: model.has_overlays ? "from the model" : "none: the model cannot tell where an image differs",
    };
    $("facts").replaceChildren(...Object.entries(facts).flatMap(([name, fact]) => [h("dt", {}, name), h("dd", {}, fact)]));
  }

  useOf(version) {
    if (version === this.model.version) return h("strong", {}, "in use");
    return h("button", { type: "button", class: "of-admin", onclick: () => this.useVersion(version) }, `Use version ${version}`);
  }

  async useVersion(version, insteadOf = this.model.version) {
    await this.request("PUT", "version", { version, instead_of: insteadOf }, () => `Version ${version} is in use.`);
  }

  async recalibrate() {
    const { confirmed_normals: n, version, alpha } = this.model;
    const text =
      `${counted(n, "confirmed normal image")} will tell what is normal here, at a false-alarm rate of ${percent(alpha)}.` +
      ` That makes a new version, used from then on. Version ${version} is kept and can be used again at any time. Scores stay;` +
      " p-values and flags change.";
    if (!(await confirmed("Recalibrate from confirmed normals?", text, "Recalibrate"))) return;
    $("recalibrate").disabled = true;
    say("Recalibrating.");
    await this.request("POST", "recalibrate", { alpha: null }, (model) => `Version ${model.version} is in use.`);
    this.drawVersions();
  }

  async rescore() {
    await this.request("POST", "rescore", undefined, ({ queued }) => `${counted(queued, "image")} queued.`);
  }

  async request(method, what, body, words) {
    try {
      const answer = await ask(method, `api/models/${encodeURIComponent(this.model.name)}/${what}`, { body });
      say(words(answer));
      await this.changed();
    } catch (error) {
      this.failed(error);
    }
  }
}

$("threshold").addEventListener("toggle", () => slider.dispatchEvent(new Event("input")));
