// Puts the page together: session, models, worklist, viewer, uploads and keys.

import { ask, begin, query, session } from "./api.js";
import { COLUMNS, USUAL } from "./columns.js";
import { advances, openSettings, signIn, singleKeys } from "./dialogs.js";
import { $, calmly, h, later, say, seldom } from "./dom.js";
import { LearningPanel } from "./learning.js";
import { Live } from "./live.js";
import { ModelPanel } from "./model.js";
import { Study } from "./study.js";
import { Uploads } from "./upload.js";
import { Viewer } from "./viewer.js";
import { counted } from "./words.js";
import { Worklist } from "./worklist.js";

const BUSY = 2000; // ms between looks while images are being scored
const IDLE = 15000;
const TOLD = 60000; // the same, while the service tells what changes
const BREATH = 900; // ms between two looks at least
const COUNTED = 3000; // ms between two counts of flags and false alarms at least

let models = [];
let model = null; // with its curve
let image = null; // that is shown, by its number
let seen = 0; // images uploaded at the last look
let stale = false; // pictures may be missing that came while nobody was signed in
let signOut = ""; // where to go for that, where somebody else signs in
let lasting = false; // whether what is said of trouble stays until it is closed
let touched = false; // whether others may have said something of the image shown
let due = false; // whether to look without waiting
let rouse = () => {};

const wake = () => {
  due = true;
  rouse();
};

const trouble = (text, ...more) => {
  $("trouble").hidden = !text;
  $("trouble").replaceChildren(...(text ? [h("span", {}, text), ...more] : []));
};

const close = () => {
  lasting = false;
  trouble("");
};

const failed = (error) => {
  if (error.name === "AbortError" || (lasting && error.passing)) return;
  lasting = !error.passing;
  trouble(error.message, h("button", { type: "button", onclick: close }, "Close"));
};

const waits = (text) => {
  if (!lasting) trouble(text);
};

const place = () => {
  const rank = list.rank;
  return rank ? `${rank.toLocaleString("en-GB")} of ${list.total.toLocaleString("en-GB")}` : "";
};

const remember = (row) => {
  image = row?.id;
  const named = new URLSearchParams({ model: model.name, ...list.address, ...(row ? { image } : {}) });
  history.replaceState(null, "", `#${named}`);
};

const open = (row) => {
  remember(row);
  study.show(row, model);
  viewer.show(row, model, place());
};

const listed = () => {
  remember(image ? { id: image } : null);
  study.renew(list.rows.find(({ id }) => id === image));
};

/** Show an image that heads no line of the list. */
const openAlone = async (number) => open(await ask("GET", `api/images/${number}${query({ model: model.name })}`));

const list = new Worklist({ choose: open, alone: openAlone, listed, failed });

/** Another image of the patient, which may be in the list or not. */
const openOther = (row) => {
  const at = list.rows.findIndex(({ id }) => id === row.id);
  if (at >= 0 && !list.group) list.take(at, true);
  else open(row);
};

const study = new Study({ open: openOther, changed: () => list.load(), failed });

const viewer = new Viewer({
  changed: (found, given) => {
    list.renew(found);
    recount();
    if (given === null) return;
    wake();
    if (given && advances()) list.toUnread().catch(failed);
  },
  open: (name) => choose(name, viewer.shown.id).catch(failed),
  removed: async () => {
    list.chosen = null;
    await list.load();
    recount();
  },
  failed,
});

const panel = new ModelPanel({ changed: () => renew(), failed });
const learning = new LearningPanel({
  use: (version, insteadOf) => panel.useVersion(version, insteadOf),
  rescore: () => panel.rescore(),
  open: async (image) => {
    await list.turnTo(image);
    $("viewer").scrollIntoView({ block: "nearest" });
  },
  failed,
});
const live = new Live(({ kinds, images }) => {
  stale ||= kinds.includes("images") || kinds.includes("verdicts");
  touched ||= kinds.includes("verdicts") && (images === null || images.includes(viewer.shown?.id));
  if (kinds.includes("learning")) learning.look();
  $("live").textContent = live.on ? "live" : "not live: looks every few seconds";
  wake();
});
const uploads = new Uploads(calmly(400, () => wake()));
// Many pages may listen while many images are scored.
const recount = seldom(COUNTED, () => {
  panel.refresh();
  learning.look();
});

/** Ask what the models are now; load the list anew where something in it has changed. */
const look = async () => {
  models = (await ask("GET", "api/models")).models;
  const now = models.find(({ name }) => name === model.name) || models[0];
  const other = now.version !== model.version || now.alpha !== model.alpha;
  const moved = now.queued !== model.queued || uploads.images !== seen || stale;
  seen = uploads.images;
  stale = false;
  if (other) return renew();
  Object.assign(model, now);
  panel.drawVersions();
  drawQueue();
  if (moved) {
    await list.load();
    $("place").textContent = place();
    recount();
  }
  if (touched) {
    touched = false;
    await viewer.renew(model, place());
  }
};

/** Take over a model's new version or threshold. */
const renew = async () => {
  model = await ask("GET", `api/models/${encodeURIComponent(model.name)}`);
  list.model = model;
  panel.show(model);
  learning.show(model);
  drawQueue();
  await list.load();
  await Promise.all([viewer.renew(model, place()), panel.refresh()]);
};

const choose = async (name, image = null) => {
  model = { ...models.find((one) => one.name === name), curve: [] };
  const chosen = model;
  uploads.model = name;
  $("model").value = name;
  list.of(chosen);
  drawQueue();
  const listed = list.from(0, { image }); // the rows need not wait for the curve
  Object.assign(chosen, await ask("GET", `api/models/${encodeURIComponent(name)}`));
  if (model !== chosen) return;
  panel.show(chosen);
  learning.show(chosen);
  await Promise.all([listed, panel.refresh()]);
  viewer.redraw(place());
};

const drawQueue = () => {
  const text = model.queued ? `${counted(model.queued, "image")} waiting to be scored` : "";
  if ($("queue").textContent && !text) say("All images are scored.");
  $("queue").textContent = text;
};

const keys = {
  j: () => list.step(1),
  k: () => list.step(-1),
  " ": () => {
    const covered = viewer.picture.overlay.toggle();
    say(covered === null ? "This image has no overlay." : covered ? "Overlay on." : "Overlay off.");
  },
  n: () => viewer.readings.judge("normal"),
  a: () => viewer.readings.judge("abnormal"),
  u: () => viewer.readings.judge("unsure"),
  x: () => list.toUnread(),
  m: () => $("note").focus(),
  w: () => viewer.picture.reset(),
  f: () => viewer.picture.enlarge(),
  ...viewer.keys,
  "/": () => $("filters").elements.search.focus(),
  "?": () => openSettings(),
};

const WRITES = "input:not([type=range], [type=checkbox], [type=file]), select, textarea";
const MOVED = "input, [role=button], [role=region], summary"; // by arrow keys of their own, or scrolled by them
const REPEATED = "jk+-=";
const SPACED = "button, summary, a.button, input:not([type=range])";

document.addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (key === "Escape" && target.matches("#note, [type=search]")) target.blur();
  if (/^(Arrow|Page)/.test(key)) {
    // They are no single characters, so they work whether those are wanted or not.
    if (!target.closest(`${WRITES}, ${MOVED}`) && viewer.arrow(event)) event.preventDefault();
    return;
  }
  if (!singleKeys() || !(key in keys) || target.closest(WRITES)) return;
  if (key === " " && target.closest(SPACED)) return;
  if (event.repeat && !REPEATED.includes(key)) return;
  event.preventDefault();
  keys[key]();
});

$("model").addEventListener("change", ({ target }) => choose(target.value).catch(failed));
$("sign-out").addEventListener("click", async () => {
  await ask("DELETE", "api/session").catch(failed);
  if (signOut) location.assign(signOut);
  else location.reload();
});

document.addEventListener("visibilitychange", () => !document.hidden && wake());

const watch = async () => {
  for (;;) {
    const roused = new Promise((resolve) => {
      rouse = resolve;
    });
    if (!due) await Promise.race([later(live.on ? TOLD : model.queued ? BUSY : IDLE), roused]);
    due = false;
    if (document.hidden) continue; // becoming visible wakes
    await look().catch(failed);
    await later(BREATH);
  }
};

const greet = (who) => {
  Object.assign(document.body.dataset, { role: who.role, user: who.user });
  live.open();
  $("user").textContent = `${who.user} (${who.role})`;
  $("sign-out").hidden = false;
  signOut = who.sign_out;
  $("software").textContent = `MSDE ${who.version}. ${who.notice}`;
  uploads.limits = who.limits;
  study.who = who;
};

/** Draw the columns that a reader has chosen, and let him choose others, which is kept for him. */
const offerColumns = ({ columns, group }, named) => {
  let shown = columns || USUAL;
  let kept = Promise.resolve();
  const put = () => ask("PUT", "api/preferences", { body: { columns: shown, group: list.group || "image" } });
  const keep = () => {
    kept = kept.then(put).catch(failed); // one after the other, so that the last choice is the one that stays
  };
  const box = (key) => {
    const change = ({ target }) => {
      shown = Object.keys(COLUMNS).filter((one) => (one === key ? target.checked : shown.includes(one)));
      list.show(shown, named);
      keep();
    };
    const input = h("input", { type: "checkbox", form: "none", value: key, checked: shown.includes(key), onchange: change });
    return h("label", {}, input, ` ${COLUMNS[key].says}`);
  };
  $("columns").replaceChildren(...Object.keys(COLUMNS).filter((key) => named || !COLUMNS[key].named).map(box));
  $("columns").addEventListener("input", (event) => event.stopPropagation()); // it filters nothing
  $("filters").elements.group.addEventListener("change", keep);
  if (named) {
    $("search-says").textContent = "Search";
    $("filters").elements.search.placeholder = "name, ID, accession, date";
  }
  $("names-say").textContent = named
    ? "Names of patients are shown here; who looked at whom is on record."
    : "Names of patients are not shown: this service was started without --identifiers. Pseudonyms stay the same.";
  list.show(shown, named);
  if (group && group !== "image") $("filters").elements.group.value = group;
};

/** Show what an address says: a model, how its list is filtered and sorted, and an image. */
const visit = async (named) => {
  const first = models.find(({ name }) => name === named.get("model")) || models[0];
  if ([...named.keys()].some((name) => !["model", "image"].includes(name))) list.restore(named);
  await choose(first.name, Number(named.get("image")));
};

const start = async () => {
  begin(async () => {
    if (signOut) { // the proxy leads to where this reader signs in
      location.reload();
      await new Promise(() => {});
    }
    await signIn();
    greet(await session());
    stale = true;
    wake();
  }, waits);
  const asked = ["models", "preferences"].map((what) => ask("GET", `api/${what}`));
  const [who, served, preferences] = await Promise.all([session(), ...asked]);
  greet(who);
  models = served.models;
  $("model").replaceChildren(...models.map(({ name }) => h("option", { value: name }, name)));
  $("model").disabled = models.length < 2;
  const named = new URLSearchParams(location.hash.slice(1));
  offerColumns(preferences, who.identifiers);
  await visit(named);
  addEventListener("hashchange", () => {
    const asked = new URLSearchParams(location.hash.slice(1));
    if (asked.has("model")) visit(asked).catch(failed);
  });
  watch();
};

start().catch(failed);
