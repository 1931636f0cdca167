// Scores of held-out normals, with the threshold and a score among them; as in the report.

import { svg } from "./dom.js";

const WIDTH = 240;
const HEIGHT = 48;
const BINS = 30;
const BEYOND = 0.6; // room to the right of the normals, in their widths
const FLOOR = HEIGHT - 1;

const span = (curve, threshold) => {
  const low = curve[0];
  const high = Math.max(curve.at(-1), threshold ?? -Infinity);
  const width = high - low || Math.max(Math.abs(high), 1);
  return [low - 0.02 * width, high + BEYOND * width];
};

const bars = (curve, place) => {
  const counts = new Array(BINS).fill(0);
  for (const score of curve) counts[Math.min(Math.floor((place(score) / WIDTH) * BINS), BINS - 1)] += 1;
  const highest = Math.max(...counts);
  const step = WIDTH / BINS;
  return counts.map((count, bin) => {
    const height = (count / highest) * (HEIGHT - 6);
    return count ? svg("rect", { x: bin * step, y: FLOOR - height, width: step - 1, height }) : null;
  });
};

const mark = (x) =>
  x >= WIDTH // an arrow: further to the right
    ? [`M${x - 22} 12h16`, `M${x - 7} 7l7 5l-7 5z`]
    : [`M${x} ${FLOOR}V8`, `M${x - 4} 1h8l-4 7z`];

/** Draw; `threshold` and `score` may be null. The text beside it says the same. */
export const chart = (curve, threshold, score) => {
  if (!curve.length) return svg("svg", { class: "histogram", "aria-hidden": "true" });
  const [low, high] = span(curve, threshold);
  const place = (value) => Math.min(Math.max((value - low) / (high - low), 0), 1) * WIDTH;
  const drawn = [svg("g", { class: "bars" }, bars(curve, place))];
  drawn.push(svg("line", { class: "floor", x1: 0, x2: WIDTH, y1: FLOOR, y2: FLOOR }));
  if (threshold !== null) {
    const x = place(threshold);
    drawn.push(svg("line", { class: "threshold", x1: x, x2: x, y1: 0, y2: FLOOR }));
  }
  if (score !== null) {
    const [line, head] = mark(place(score));
    drawn.push(svg("path", { class: "mark", d: line }), svg("path", { class: "head", d: head }));
  }
  return svg("svg", { class: "histogram", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" }, drawn);
};
