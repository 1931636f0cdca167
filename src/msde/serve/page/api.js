// Requests: signed in, repeated where that helps, refused in words.

import { later } from "./dom.js";
import { capital } from "./words.js";

const TRIES = 5;
const BUSY = [429, 503];
let csrf = "";
let signedIn = 0; // how often
let signIn = async () => {};
let waiting = () => {};

/** What the service refuses, or that it does not answer; the message is for the reader. */
export class Refusal extends Error {
  constructor(message, status = 0, passing = false) {
    super(message);
    this.status = status;
    this.passing = passing; // of no weight as soon as the service answers again
  }
}

/** Name what asks the reader to sign in, and what says that a request waits. */
export const begin = (bySigningIn, sayWaiting) => {
  signIn = bySigningIn;
  waiting = sayWaiting;
};

export const said = (detail, status) => {
  if (typeof detail === "string") return detail.replace(/^[a-z]+(?= )/, capital); // a file's name stays as it is
  if (Array.isArray(detail)) return detail.map((one) => `${(one.loc || []).at(-1)}: ${one.msg}`).join("; ");
  return `The service answered with an error (${status}).`;
};

export const seconds = (header, otherwise) => {
  const given = Number.parseInt(header, 10);
  return Number.isFinite(given) && given >= 0 ? Math.min(Math.max(given, 1), 120) : otherwise;
};

export const query = (parameters) => {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
};

const refusal = async (answer) => {
  const body = await answer.json().catch(() => ({}));
  return new Refusal(said(body.detail, answer.status), answer.status);
};

const sent = async (method, path, body, signal) => {
  const headers = { "X-CSRF-Token": csrf };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
};

/** Ask until there is an answer; throws a Refusal, or what `signal` was aborted with. What only asks may be sent `again`. */
export const ask = async (method, path, { body, signal, as = "json", again = method === "GET" } = {}) => {
  for (let turn = 1; ; turn++) {
    let answer = null;
    const before = signedIn;
    try {
      answer = await sent(method, path, body, signal);
    } catch (error) {
      if (signal?.aborted) throw error;
      // What changes something is not sent twice by itself: it may have arrived.
      if (!again) throw new Refusal("The service does not answer: this may not have been stored. Try again in a moment.");
      if (turn >= TRIES) throw new Refusal("The service does not answer. Try again in a moment.", 0, true);
      waiting(`The service does not answer; trying again in ${2 ** turn} s.`);
      await later(1000 * 2 ** turn);
      continue;
    }
    if (answer.ok) {
      waiting("");
      if (as === "answer") return answer;
      return answer.status === 204 ? null : answer.json();
    }
    if (answer.status === 401) {
      if (before === signedIn) await signIn(); // else done while this was under way
    } else if (answer.status === 403 && turn === 1) {
      await session(); // another tab may have signed in anew
    } else if (BUSY.includes(answer.status) && turn < TRIES) {
      const pause = seconds(answer.headers.get("Retry-After"), 2 ** turn);
      waiting(`The service is busy; trying again in ${pause} s.`);
      await later(1000 * pause);
    } else {
      waiting("");
      throw await refusal(answer);
    }
  }
};

export const session = async () => {
  const answer = await ask("GET", "api/session");
  csrf = answer.csrf;
  return answer;
};

/** Exchange a token for the session's cookie; throws a Refusal. */
export const exchange = async (token) => {
  const answer = await sent("POST", "api/session", { token });
  if (!answer.ok) throw await refusal(answer);
  csrf = (await answer.json()).csrf;
  signedIn += 1;
};

/**
 * Send files with progress in bytes, once; resolves to {status, body, retryAfter}, with status 0 for no answer. What they are
 * called goes in a header, since it may tell who somebody is, and addresses are written down.
 */
export const send = (path, name, body, progress, signal) =>
  new Promise((resolve) => {
    const request = new XMLHttpRequest();
    const ended = () => {
      let read = {};
      try {
        read = JSON.parse(request.responseText);
      } catch {
        // no JSON: a proxy's page, or no answer at all
      }
      resolve({ status: request.status, body: read, retryAfter: request.getResponseHeader("Retry-After") });
    };
    request.open("POST", path);
    request.setRequestHeader("X-CSRF-Token", csrf);
    request.setRequestHeader("Content-Disposition", `attachment; filename*=UTF-8''${encodeURIComponent(name.toWellFormed())}`);
    if (!(body instanceof FormData)) request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.addEventListener("progress", (event) => progress(event.loaded));
    request.addEventListener("loadend", ended);
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(body);
  });

export const askToSignIn = () => signIn();
