// ROC curves of two models, one over the other.

import { svg } from "./dom.js";

const SIDE = 200;
const LEFT = 16; // room for the name of an axis
const BELOW = 16;

const path = (points) => {
  const corners = points.map(([x, y]) => `${(x * SIDE).toFixed(1)} ${((1 - y) * SIDE).toFixed(1)}`);
  return `M${corners.join("L")}`;
};

/** Draw the corners of two curves, each from [0, 0] to [1, 1]; `label` says the same in words. */
export const roc = (old, fresh, label) =>
  svg(
    "svg",
    { class: "roc", viewBox: `${-LEFT} -2 ${LEFT + SIDE + 4} ${SIDE + BELOW + 4}`, role: "img", "aria-label": label },
    svg("rect", { class: "frame", x: 0, y: 0, width: SIDE, height: SIDE }),
    [0.25, 0.5, 0.75].map((at) => svg("path", { class: "grid", d: `M${at * SIDE} 0V${SIDE}M0 ${at * SIDE}H${SIDE}` })),
    svg("path", { class: "chance", d: `M0 ${SIDE}L${SIDE} 0` }),
    svg("path", { class: "old", d: path(old) }),
    svg("path", { class: "new", d: path(fresh) }),
    svg("text", { x: SIDE / 2, y: SIDE + BELOW - 3, "text-anchor": "middle" }, "share of normal images called"),
    svg("text", { x: -SIDE / 2, y: -5, "text-anchor": "middle", transform: "rotate(-90)" }, "share of abnormal images called"),
  );

/** Draw a sample of a line for a legend, "old" or "new". */
export const sample = (name) =>
  svg("svg", { class: "roc sample", viewBox: "0 0 24 8", "aria-hidden": "true" }, svg("path", { class: name, d: "M1 4H23" }));
