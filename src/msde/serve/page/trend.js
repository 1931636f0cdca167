// A value by week, with what surrounds it; the text beside it says the same.

import { svg } from "./dom.js";

const WIDTH = 480;
const HEIGHT = 150;
const LEFT = 44;
const BELOW = 22;
const ABOVE = 8;
const FLOOR = HEIGHT - BELOW;
const TICKS = 4;
const HALF = 20; // of the text of a day
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

export const weekOf = (date) => day.format(new Date(date));

/** A step of 1, 2 or 5 times a power of ten, so that there are some four to the top. */
const stepTo = (span) => {
  const rough = span / TICKS || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
};

/**
 * Draw points with intervals or bands.
 *
 * `points` has one entry a week: null, or {value, bands: [[low, high], ...]}, the outer band first; `line` is drawn across,
 * such as what is expected. `zero` has the axis begin at 0; `unit(value)` writes a number of the axis.
 */
export const trend = ({ weeks, points, line = null, zero = true, unit = String, label }) => {
  const values = points.flatMap((point) => (point ? [point.value, ...point.bands.flat()] : []));
  if (line !== null) values.push(line);
  if (!values.length) return svg("svg", { class: "trend", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  let low = zero ? 0 : Math.min(...values);
  let high = Math.max(...values);
  const step = stepTo(high - low || Math.abs(high) || 1);
  low = zero ? 0 : Math.floor(low / step) * step;
  high = Math.max(Math.ceil(high / step - 1e-9) * step, low + step);
  const y = (value) => FLOOR - ((value - low) / (high - low)) * (FLOOR - ABOVE);
  const gap = (WIDTH - LEFT - 6) / weeks.length;
  const x = (at) => LEFT + gap * (at + 0.5);
  const ticks = [];
  for (let tick = low; tick <= high + step / 2; tick += step) ticks.push(tick);
  const shown = Math.max(1, Math.ceil(weeks.length / 6));
  const width = Math.max(1.5, Math.min(9, gap * 0.6));
  const drawn = points.map((point, at) =>
    point &&
    svg(
      "g",
      {},
      point.bands.map(([from, to], depth) =>
        svg("rect", { class: `band depth-${depth}`, x: x(at) - width / 2, width, y: y(to), height: Math.max(y(from) - y(to), 0.5) }),
      ),
      svg("circle", { class: "value", cx: x(at), cy: y(point.value), r: Math.min(3, Math.max(1.6, gap / 4)) }),
    ),
  );
  return svg(
    "svg",
    { class: "trend", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
    ticks.flatMap((tick) => [
      svg("line", { class: "grid", x1: LEFT, x2: WIDTH, y1: y(tick), y2: y(tick) }),
      svg("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, unit(tick)),
    ]),
    weeks.map((week, at) =>
      at % shown === 0 ? svg("text", { x: Math.min(x(at), WIDTH - HALF), y: HEIGHT - 6, "text-anchor": "middle" }, weekOf(week)) : null,
    ),
    line === null ? null : svg("line", { class: "expected", x1: LEFT, x2: WIDTH, y1: y(line), y2: y(line) }),
    drawn,
  );
};
