// Numbers for the head of department: what a model did over weeks.

import { ask, begin, query, session } from "./api.js";
import { $, h } from "./dom.js";
import { trend, weekOf } from "./trend.js";
import { counted, figure, percent } from "./words.js";

const many = (n) => n.toLocaleString("en-GB");
const TINY = 60;
const HOUR = 3600;
const DAY = 86400;

/** Seconds as a reader says them. */
const lasting = (seconds) => {
  if (seconds < TINY) return `${Number(seconds.toPrecision(2))}\u00a0s`;
  if (seconds < HOUR) return `${Math.round(seconds / TINY)}\u00a0min`;
  if (seconds < 2 * DAY) return `${Number((seconds / HOUR).toPrecision(2))}\u00a0h`;
  return `${Number((seconds / DAY).toPrecision(2))}\u00a0days`;
};
const between = ([low, high], write) => `${write(low)} to ${write(high)}`;
const none = "–";

const trouble = (text) => {
  $("trouble").hidden = !text;
  $("trouble").textContent = text;
};

const fact = (name, value, more) =>
  h("div", {}, h("dt", {}, name), h("dd", {}, h("strong", {}, value), more ? h("span", { class: "quiet" }, more) : null));

const perThousand = (value) => Number(value.toPrecision(3)).toLocaleString("en-GB");

const drawFigures = ({ total, alpha, pairs }) => {
  const known = pairs.filter(({ kappa }) => kappa !== null);
  const read = known.reduce((sum, { images }) => sum + images, 0);
  const kappa = known.reduce((sum, pair) => sum + pair.kappa * pair.images, 0) / read;
  const facts = [
    fact("Images", many(total.images), `${many(total.flagged)} flagged`),
    fact(
      "Flags in 1,000",
      total.images ? perThousand(total.flags_per_1000) : none,
      total.images ? `${between(total.flags_interval, perThousand)}; ${perThousand(1000 * alpha)} expected of normals` : "",
    ),
    fact(
      "False alarms",
      total.confirmed_normals ? percent(total.false_alarm_rate) : none,
      total.confirmed_normals
        ? `${many(total.false_alarms)} of ${counted(total.confirmed_normals, "confirmed normal")}, ${between(total.false_alarm_interval, percent)}`
        : "no normal is confirmed yet",
    ),
    fact(
      "Confirmed abnormal",
      many(total.confirmed_abnormals),
      total.confirmed_abnormals ? `${many(total.found)} of them flagged` : "",
    ),
    fact("Arrival to score", total.to_score ? lasting(total.to_score.median) : none, total.to_score ? `nine in ten within ${lasting(total.to_score.p90)}` : ""),
    fact("Arrival to verdict", total.to_verdict ? lasting(total.to_verdict.median) : none, total.to_verdict ? `nine in ten within ${lasting(total.to_verdict.p90)}` : "no verdict yet"),
    fact("Readers' agreement", read ? `κ ${kappa.toFixed(2)}` : none, read ? `of ${counted(known.length, "pair")}` : "no image was read twice"),
  ];
  $("figures").replaceChildren(...facts);
};

const drawTrends = ({ weeks, alpha, threshold, total }) => {
  const dates = weeks.map(({ week }) => week);
  const draw = (id, given) => $(id).replaceChildren(trend({ weeks: dates, ...given }));
  draw("flags", {
    label: "Flags in 1,000 images by week, with 95 % intervals",
    points: weeks.map((one) => (one.images ? { value: one.flags_per_1000, bands: [one.flags_interval] } : null)),
    line: 1000 * alpha,
  });
  $("flags-says").textContent =
    `Each week with its 95 % interval; the line is the ${perThousand(1000 * alpha)} that would be flagged were all normal.`;
  draw("alarms", {
    label: "Share of confirmed normals that were flagged, by week, with 95 % intervals",
    points: weeks.map((one) => (one.confirmed_normals ? { value: 100 * one.false_alarm_rate, bands: [one.false_alarm_interval.map((end) => 100 * end)] } : null)),
    line: 100 * alpha,
    unit: (value) => `${figure(value)} %`,
  });
  $("alarms-says").textContent = total.confirmed_normals
    ? `Of what readers call normal; the line is the rate asked for, ${percent(alpha)}. Where flagged images are looked at first, the share is too high.`
    : "Nobody has called an image normal in this time.";
  draw("scores", {
    label: "Anomaly scores by week: median, and the middle half and nine tenths",
    points: weeks.map(({ scores }) => (scores ? { value: scores[2], bands: [[scores[0], scores[4]], [scores[1], scores[3]]] } : null)),
    line: threshold,
    zero: false,
    unit: figure,
  });
  $("scores-says").textContent = `Median, middle half, and nine tenths of single images by this version${threshold === null ? "" : "; above the line is flagged"}.`;
  const slowest = Math.max(0, ...weeks.flatMap(({ to_verdict: to }) => (to ? [to.p90] : [])));
  const [size, name] = slowest > 2 * DAY ? [DAY, "d"] : slowest > 2 * HOUR ? [HOUR, "h"] : [TINY, "min"];
  draw("times", {
    label: "Time from arrival to the first verdict by week: median, and nine tenths",
    points: weeks.map(({ to_verdict: to }) => (to ? { value: to.median / size, bands: [[to.median / size, to.p90 / size]] } : null)),
    unit: (value) => `${figure(value)} ${name}`,
  });
  $("times-says").textContent = total.to_verdict
    ? `Median, and up to where nine in ten lie, of ${counted(total.verdicts, "image")} with a verdict.`
    : "No image of this time has a verdict.";
};

const drawScanners = ({ scanners, weeks }) => {
  if (!scanners.length) {
    $("scanners").replaceChildren(h("tbody", {}, h("tr", {}, h("td", {}, "No single image was scored by this version in this time."))));
    return;
  }
  const shown = weeks.slice(-12).reverse(); // the latest is in sight on a narrow screen too
  const head = h("tr", {}, h("th", { scope: "col" }, "Scanner"), h("th", { scope: "col" }, "All weeks"), shown.map(({ week }) => h("th", { scope: "col" }, weekOf(week))));
  const cell = (found) => {
    if (!found) return h("td", { class: "none" }, none);
    const words = `${counted(found.images, "image")}; chance explains ${found.explained.toFixed(2)}`;
    return h(
      "td",
      { class: found.found ? "drifts" : null, title: words },
      found.found ? h("span", { "aria-hidden": "true" }, found.higher ? "▲ " : "▼ ") : null,
      found.distance.toFixed(2),
      found.found ? h("span", { class: "unseen" }, found.higher ? " drift, scores are higher;" : " drift, scores are lower;") : null,
      h("span", { class: "quiet" }, ` ${many(found.images)}`),
    );
  };
  const names = [...new Set(scanners.map(({ scanner }) => scanner))];
  const rows = names.map((name) => {
    const of = scanners.filter(({ scanner }) => scanner === name);
    const at = (week) => of.find((one) => one.week === week);
    return h("tr", {}, h("th", { scope: "row" }, h("bdi", {}, name)), cell(at(null)), shown.map(({ week }) => cell(at(week))));
  });
  $("scanners").replaceChildren(h("thead", {}, head), h("tbody", {}, rows));
};

const drawReaders = ({ pairs }) => {
  const head = ["Readers", "Images in common", "Same verdict", "Cohen's κ", "95 % interval"].map((text) => h("th", { scope: "col" }, text));
  const rows = pairs.map(({ readers, images, agreed, kappa, interval }) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, readers.join(" and ")),
      h("td", {}, many(images)),
      h("td", {}, `${many(agreed)} (${percent(agreed / images)})`),
      h("td", {}, kappa === null ? none : kappa.toFixed(2)),
      h("td", {}, interval === null ? none : between(interval, (end) => end.toFixed(2))),
    ),
  );
  $("readers").replaceChildren(...(rows.length ? [h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows)] : []));
  $("readers-says").textContent = pairs.length
    ? "Of all images of the model that two have read, whenever they came. κ is 1 where they always agree, 0 where as often as chance."
    : "No image was read by two readers.";
};

const drawTable = ({ weeks, total }) => {
  const columns = ["Week of", "Images", "Flagged", "In 1,000", "Confirmed normal", "False alarms", "Confirmed abnormal", "Found", "To score", "To verdict"];
  const row = (one) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, one.week === null ? "All" : weekOf(one.week)),
      [
        many(one.images),
        many(one.flagged),
        one.flags_per_1000 === null ? none : perThousand(one.flags_per_1000),
        many(one.confirmed_normals),
        many(one.false_alarms),
        many(one.confirmed_abnormals),
        many(one.found),
        one.to_score ? lasting(one.to_score.median) : none,
        one.to_verdict ? lasting(one.to_verdict.median) : none,
      ].map((text) => h("td", {}, text)),
    );
  $("table").replaceChildren(
    h("thead", {}, h("tr", {}, columns.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, [...weeks].reverse().map(row), row(total)),
  );
};

let asking = new AbortController();

const load = async () => {
  asking.abort();
  const mine = (asking = new AbortController());
  const [model, weeks] = [$("model").value, $("weeks").value];
  const place = `api/models/${encodeURIComponent(model)}/numbers`;
  for (const table of ["weeks", "scanners", "readers"]) $(`csv-${table}`).href = `${place}.csv${query({ weeks, table })}`;
  $("back").href = `./#model=${encodeURIComponent(model)}`;
  history.replaceState(null, "", `#${new URLSearchParams({ model, weeks })}`);
  try {
    const found = await ask("GET", `${place}${query({ weeks })}`, { signal: mine.signal });
    for (const draw of [drawFigures, drawTrends, drawScanners, drawReaders, drawTable]) draw(found);
    document.body.dataset.drawn = "true";
    trouble("");
  } catch (error) {
    if (!mine.signal.aborted) trouble(error.message);
  }
};

const start = async () => {
  begin(async () => {
    location.assign("./"); // where one signs in
    await new Promise(() => {});
  }, trouble);
  await session();
  const { models } = await ask("GET", "api/models");
  $("model").replaceChildren(...models.map(({ name }) => h("option", { value: name }, name)));
  const named = new URLSearchParams(location.hash.slice(1));
  if (models.some(({ name }) => name === named.get("model"))) $("model").value = named.get("model");
  if ([...$("weeks").options].some(({ value }) => value === named.get("weeks"))) $("weeks").value = named.get("weeks");
  for (const id of ["model", "weeks"]) $(id).addEventListener("change", load);
  await load();
};

start().catch((error) => trouble(error.message));
