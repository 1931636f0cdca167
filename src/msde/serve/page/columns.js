// The columns of the worklist, and what stands in them.

import { h } from "./dom.js";
import { VERDICTS, evidenceOf, figure, figureOfPatient, remarks, verdictOfModel, when } from "./words.js";

const quiet = (text) => h("span", { class: "quiet" }, text);

const howOften = (row, model, group) => {
  if (group === "patient" && row.patient) {
    const [words, p] = figureOfPatient(row.patient);
    return [words, p ? quiet(` ${p}.`) : null, row.patient.flagged ? h("span", { class: "flag" }, "patient flagged") : null];
  }
  const [words, p] = verdictOfModel(row);
  return [
    words,
    p ? quiet(` ${p}.`) : null,
    evidenceOf(row) ? h("span", { class: "quiet evidence" }, ` ${evidenceOf(row)}`) : null,
    remarks(row, model.version).map((text) => quiet(` ${text}`)),
  ];
};

const given = ({ verdict, readers }) => [
  verdict ? h("span", { class: `given ${verdict}` }, VERDICTS[verdict]) : "–",
  readers > 1 ? quiet(` by ${readers}`) : null,
];

/** By key: heading, by what it sorts, whether it stands there where a reader has chosen nothing, and its cell. */
export const COLUMNS = {
  often: { says: "How often normals score this high", sort: "p_value", usual: true, cell: howOften },
  score: {
    says: "Score",
    sort: "anomaly_score",
    usual: true,
    cell: (row) => (row.anomaly_score === null ? "" : figure(row.anomaly_score)),
  },
  verdict: { says: "Verdict", sort: "verdict", usual: true, cell: given },
  arrived: {
    says: "Arrived",
    sort: "arrived",
    usual: true,
    cell: ({ arrived }) => h("time", { datetime: arrived }, when(arrived)),
  },
  taken: { says: "Study date", named: true, cell: ({ identifiers }) => identifiers?.study_date || "–" },
  study: { says: "Study", cell: ({ identifiers, pseudonyms }) => identifiers?.study_description || pseudonyms?.study || "–" },
  modality: { says: "Modality", cell: (row) => [row.modality, row.body_part].filter(Boolean).join(", ") },
  station: { says: "Station", named: true, cell: ({ identifiers }) => identifiers?.station || "–" },
  assigned: { says: "Reader", cell: ({ assigned }) => (assigned ? h("bdi", {}, assigned) : "–") },
};

export const USUAL = Object.keys(COLUMNS).filter((key) => COLUMNS[key].usual);
