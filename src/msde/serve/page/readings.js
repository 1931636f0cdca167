// What readers say of the image shown: side by side, given, taken back, and asked about first where it has changed.

import { Refusal, ask, query } from "./api.js";
import { confirmed } from "./dialogs.js";
import { $, h, say } from "./dom.js";
import { VERDICTS, pValue, when } from "./words.js";

/** Of verdicts, the newest first, the latest of each reader; what was withdrawn is none. */
const standing = (verdicts) => {
  const latest = new Map();
  for (const one of verdicts) if (!latest.has(one.reader)) latest.set(one.reader, one);
  return [...latest.values()].filter(({ verdict }) => verdict !== "withdrawn");
};

const isOwn = ({ reader }) => reader === document.body.dataset.user;

const beside = ({ model, version, p_value: p }) =>
  version === null ? [] : [h("span", { class: "quiet" }, `; ${model} version ${version}${p === null ? "" : `, ${pValue(p)}`}`)];

const line = ({ verdict, note, reader, at }) => [
  h("strong", {}, VERDICTS[verdict]),
  " by ",
  h("bdi", {}, reader),
  ", ",
  h("time", { datetime: at }, when(at)),
  ...(note ? [": ", h("bdi", {}, note)] : []),
];

/** `looked()` gives the case shown or null, `again()` asks for it anew, `stored(case)` hears of a verdict. */
export class Readings {
  constructor({ looked, again, stored, failed }) {
    Object.assign(this, { looked, again, stored, failed });
    this.model = null;
    this.told = { image: 0, verdict: 0 }; // the latest verdict that was drawn
    $("judge").addEventListener("submit", (event) => {
      event.preventDefault();
      // Return in the note would take the first button; it is to be chosen.
      if (event.submitter && document.activeElement !== $("note")) this.judge(event.submitter.value);
      else say("Choose normal, abnormal or unsure to store the note.");
    });
  }

  clear() {
    for (const id of ["latest", "verdicts"]) $(id).replaceChildren();
    $("note").value = "";
    this.press(null);
  }

  press(verdict) {
    for (const button of $("judge").querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.value === verdict));
    }
  }

  draw(found) {
    const words = standing(found.verdicts);
    this.press(words.find(isOwn)?.verdict);
    const lines = words.map((one) => {
      const back = h("button", { type: "button", class: "small", onclick: () => this.withdraw() }, "Take back");
      return h("li", {}, line(one), ...(words.length > 1 ? [] : beside(one)), ...(isOwn(one) ? [" ", back] : []));
    });
    const disputed = found.verdict === "disputed" ? [h("p", {}, h("strong", {}, "Disputed: it counts as no label."))] : [];
    $("latest").replaceChildren(...(words.length ? [...disputed, h("ul", { class: "readers" }, lines)] : ["No verdict yet."]));
    $("verdicts").replaceChildren(...found.verdicts.map((one) => h("li", {}, line(one), ...beside(one))));
    const [latest] = found.verdicts;
    const news = latest && this.told.image === found.id && latest.id > this.told.verdict && !isOwn(latest);
    this.told = { image: found.id, verdict: latest?.id || 0 };
    if (news) say(`${VERDICTS[latest.verdict]} by ${latest.reader}, just now.`);
  }

  async judge(verdict) {
    if (this.busy || $("viewer").hidden) return;
    if (!this.looked()) return this.failed(new Refusal("Not stored: the image had not been loaded. Give the verdict again."));
    const { id, seen } = this.looked();
    const body = { verdict, note: $("note").value.trim(), seen };
    await this.send(id, "POST", body, (given) => `Stored: ${given.verdict}, by ${given.reader}, ${when(given.at)}.`);
  }

  withdraw() {
    return this.send(this.looked().id, "DELETE", undefined, () => "Taken back. The record keeps that it was given.");
  }

  async send(id, method, body, words) {
    this.busy = true;
    try {
      const given = await this.sent(id, method, body);
      if (!given) return;
      say(words(given));
      const found = this.looked();
      if (found?.id !== id) return;
      $("note").value = "";
      Object.assign(found, { verdict: given.settled, readers: given.readers });
      found.verdicts.unshift(given);
      this.draw(found);
      this.stored(found, method === "POST");
    } catch (error) {
      this.failed(error);
    } finally {
      this.busy = false;
    }
  }

  /** Send it; where what was looked at has changed since, show that, and ask; null where it is not wanted then. */
  async sent(id, method, body) {
    const path = `api/images/${id}/verdicts${query({ model: this.model.name })}`;
    for (;;) {
      try {
        return await ask(method, path, { body });
      } catch (error) {
        if (error.status !== 409 || method === "DELETE" || this.looked()?.id !== id) throw error;
        await this.again();
        const found = this.looked();
        if (found?.id !== id) return null;
        if (!(await confirmed(`Store ${body.verdict} all the same?`, error.message, `Store ${body.verdict}`))) return null;
        body = { ...body, seen: found.seen };
      }
    }
  }
}
