// What each of the models says of the image shown, side by side.

import { $, h } from "./dom.js";
import { figure, verdictOfModel } from "./words.js";

/** Draw what the models of a case say; `open(model)` is called to look at it by another. */
export const drawOpinions = ({ opinions, id }, name, open) => {
  $("opinions").hidden = opinions.length < 2;
  const row = (one) => {
    const [words, p] = verdictOfModel(one);
    const go = (event) => {
      event.preventDefault();
      open(one.model);
    };
    const address = `#${new URLSearchParams({ model: one.model, image: id })}`;
    const own = one.model === name;
    const called = own ? h("strong", {}, one.model) : h("a", { href: address, onclick: go }, one.model);
    const older = one.version === one.in_use || one.state !== "scored" ? "" : ` Scored by version ${one.version}; ${one.in_use} is in use.`;
    return h(
      "tr",
      { class: one.flagged ? "flagged" : null, "aria-current": own ? "true" : null },
      h("th", { scope: "row" }, called, ...(one.flagged ? [" ", h("span", { class: "flag" }, "flagged")] : [])),
      h("td", {}, words, p ? h("span", { class: "quiet" }, ` ${p}.`) : "", h("span", { class: "quiet" }, older)),
      h("td", {}, one.anomaly_score === null ? "" : figure(one.anomaly_score)),
    );
  };
  $("said-by").replaceChildren(...opinions.map(row));
};
