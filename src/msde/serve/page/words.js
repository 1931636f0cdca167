// Figures in words.

const SPACE = "\u00a0";
const date = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" });
const moment = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

export const VERDICTS = { normal: "Normal", abnormal: "Abnormal", unsure: "Unsure", disputed: "Disputed", withdrawn: "Withdrawn" };

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const counted = (n, noun) => `${n.toLocaleString("en-GB")} ${noun}${n === 1 ? "" : "s"}`;
export const when = (text) => moment.format(new Date(text));
export const day = (text) => date.format(new Date(text));
export const percent = (share) => `${Number((100 * share).toPrecision(2))}${SPACE}%`;
export const figure = (value) => String(Number(value.toPrecision(3)));
export const bytes = (n) => (n < 1e6 ? `${Math.ceil(n / 1e3)}${SPACE}kB` : `${(n / 1e6).toFixed(1)}${SPACE}MB`);

export const pValue = (p) => `p${SPACE}=${SPACE}${Number(p.toPrecision(2))}`;

/** A p-value of volumes, for which the service gives no words; such as "about 1 in 50 normal volumes scores this high". */
const howOften = (p, noun) => {
  if (p >= 0.95) return `nearly every normal ${noun} scores this high`;
  if (p > 0.15) return `about ${Math.round(10 * p)} in 10 normal ${noun}s score this high`;
  return `about 1 in ${Math.round(Number((1 / p).toPrecision(2)))} normal ${noun}s scores this high`;
};

/** What is said of an image in the worklist and beside its picture: a sentence, and its p-value. */
export const verdictOfModel = (row) => {
  if (row.state === "queued") return ["Waiting to be scored.", ""];
  if (row.state === "unsuited") return [`${capital(row.error)}.`, ""];
  if (row.state === "failed") return [`No score: ${row.error}`, ""];
  if (row.p_value === null) {
    const volume = "the model is not calibrated on volumes";
    return [`No p-value: ${row.kind === "volume" ? volume : "there are no held-out normals to compare with"}.`, ""];
  }
  return [`${capital(row.words || howOften(row.p_value, row.kind))}.`, pValue(row.p_value)];
};

/** What spoke for a flag, where the model learnt from labels, and whether it was likeness to these. */
export const evidenceOf = (row) => (row.flagged && row.evidence ? `${capital(row.evidence)}.` : "");
export const isLike = (row) => Boolean(row.flagged && row.evidence?.startsWith("like"));

/** What is said of a patient's images together, and its p-value. */
export const figureOfPatient = ({ words, p_value: p }) => [`${words}.`, p === null ? "" : pValue(p)];

export const UID = /^[\d.]{16,}(\.dcm)?$/;

/** What a line is called: whom it is of, where that is shown; else its name, unless that is but an archive's UID. */
export const titleOf = ({ name, identifiers, pseudonyms }, group = "") => {
  const known = identifiers?.name || identifiers?.patient_id;
  if (known) return known;
  if (pseudonyms && group === "patient") return `Patient ${pseudonyms.patient}`;
  if (pseudonyms?.study && (group === "study" || UID.test(name))) return `Study ${pseudonyms.study}`;
  return name;
};

/** The same in a line or two of a list: the patient, and the study. */
export const brieflyOf = (row, group = "") => {
  const { identifiers: of, pseudonyms, modality, body_part: part } = row;
  const title = titleOf(row, group);
  const what = modality === "other" ? "" : modality;
  if (of) {
    const patient = [of.patient_id === title ? "" : of.patient_id, [of.sex, of.birth_year].filter(Boolean).join(" ")];
    const called = of.study_description || part || "";
    const study = [of.study_date, called.split(/\W/).includes(what) ? "" : what, called].filter(Boolean);
    return [patient.filter(Boolean).join(", "), group === "patient" ? "" : study.join(" ")];
  }
  const kinds = { "": ["patient", "study", "series"], study: ["patient"] }[group] || [];
  const named = kinds.map((of) => (pseudonyms?.[of] ? `${of} ${pseudonyms[of]}` : ""));
  const shown = pseudonyms ? [what, part] : [row.format, what];
  return [named.filter((text) => text && text !== title.toLowerCase()).join(", "), shown.filter(Boolean).join(" ")];
};

/** Whom an image is of and of which study, in short pieces: identifiers, or pseudonyms where those are not shown. */
export const whoseOf = ({ identifiers: of, pseudonyms, body_part: part }) => {
  if (of) {
    const sex = { F: "female", M: "male", O: "other" }[of.sex];
    const born = of.birth_year ? `born ${of.birth_year}` : "";
    const accession = of.accession ? `accession ${of.accession}` : "";
    return [of.patient_id, sex, born, of.study_date, of.study_description || part, accession, of.station].filter(Boolean);
  }
  const named = Object.entries(pseudonyms || {}).map(([what, short]) => (short ? `${what} ${short}` : ""));
  return [...named, pseudonyms ? part : ""].filter(Boolean);
};

export const remarks = (row, version) => {
  const said = [];
  if (!["failed", "unsuited"].includes(row.state) && row.error) said.push(row.error);
  if (row.purged) said.push("Its picture and its name are kept no longer; scores and verdicts are.");
  if (row.seen_in_training) said.push("The model has learnt from it, so its score is no evidence.");
  if (row.state === "scored" && version && row.version !== version) {
    said.push(`Scored by version ${row.version}; version ${version} is in use.`);
  }
  return said;
};

/** "1 of 20 confirmed normals, 5 % (95 % interval 0.9 % to 24 %)". */
export const falseAlarms = (tally) => {
  if (!tally.confirmed_normals) return "no normal is confirmed yet";
  const [low, high] = tally.interval;
  const of = `${tally.false_alarms.toLocaleString("en-GB")} of ${counted(tally.confirmed_normals, "confirmed normal")}`;
  return `${of}, ${percent(tally.rate)} (95${SPACE}% interval ${percent(low)} to ${percent(high)})`;
};
