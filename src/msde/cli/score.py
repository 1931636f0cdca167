"""`msde score`: a model file and images in, a table of scores out."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from msde.cli.options import Rate, with_answer, with_cache, with_device, with_groups, with_identifiers, with_output
from msde.cli.progress import answer, json_is_printed, progress, remark, report_unreadable, tell, tell_notes
from msde.cli.ray import refuse_with_ray, report, with_ray

if TYPE_CHECKING:
    from msde.cluster.cluster import Cluster
    from msde.dicom import Exporter
    from msde.embedding.cache import EmbeddingCache
    from msde.embedding.embed import Embedded
    from msde.images.patients import Patients
    from msde.model.anomaly_model import AnomalyModel
    from msde.model.patient_score import PatientScore
    from msde.model.score import ImageScore
    from msde.output.score_table import Scored


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...", type=click.Path())
@with_output(help="Table to write: .csv, .jsonl or .parquet. [default: print CSV; with --ray, the parts alone]")
@click.option(
    "--dicom",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for a DICOM report on each DICOM image and series, with overlay and heat map if the model has them;"
    " in the image's study, under the patient's name.",
)
@click.option(
    "--heatmaps",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for two files an image: NAME.overlay.png, the image with what differs in colour and a colour bar, and"
    " NAME.heat.png, the heat in 16 bits.",
)
@click.option(
    "--why",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write what each distance is made of as CSV: the share of the squared distance by network, view, pooling and"
    " level. Models of inductive mode only, and not with --heatmaps.",
)
@click.option(
    "--sigmoid",
    is_flag=True,
    help="Give the published output in (0, 1), the sigmoid of a score's place in its batch; with models of transductive"
    " mode only.",
)
@click.option(
    "--by",
    type=click.Choice(["image", "patient"]),
    default="image",
    show_default=True,
    help="Rows of the table: an image, or a patient with one p-value for all images, where the model is calibrated on"
    " patients. A patient has more columns: images, how many they are, and highest, the one that scores highest.",
)
@click.option(
    "--fdr",
    type=Rate(),
    metavar="RATE",
    help="Add the column discovery: true for those of which the share of normals is expected to be at most this"
    " (Benjamini-Hochberg). It counts rows as independent: with several images a patient, use it with --by patient.",
)
@with_groups
@with_identifiers
@with_device
@with_cache
@with_ray
@with_answer
def score(
    model: Path,
    images: tuple[str, ...],
    output: Path | None,
    dicom: Path | None,
    heatmaps: Path | None,
    why: Path | None,
    sigmoid: bool,
    by: str,
    fdr: float | None,
    groups: Patients,
    identifiers: bool,
    device: str,
    cache: EmbeddingCache | None,
    cluster: Cluster | None,
) -> None:
    """Score images with a model file: high scores and low p-values are abnormal.

    IMAGES are files, folders (searched recursively) or globs. Columns: path, anomaly_score, p_value (how often a normal
    image scores at least as high), flagged (p-value at most the target false-alarm rate), error; p_value and flagged
    are empty in transductive mode. A volume, stack or slide has a row for each slice, page or tile, PATH#PART, and then
    one for itself, PATH: the mean of the highest tenth of its scores. That one has a p-value where the model is
    calibrated on normal volumes. A model that learnt from --abnormal images has a column evidence: whether an image is
    like these, or unlike the normals.
    """
    from msde.output.score_table import check_table

    if output is not None:
        check_table(output)
    if cluster is not None:
        refuse_with_ray(
            dicom=dicom,
            heatmaps=heatmaps,
            why=why,
            sigmoid=sigmoid,
            by=by == "patient",
            fdr=fdr,
            identifiers=identifiers,
            cache=cache,
        )
        return _score_on(cluster, model, images, output)
    from msde.embedding.embed import ticking
    from msde.images import find_images
    from msde.model.anomaly_model import AnomalyModel
    from msde.model.distance_shares import check_shares
    from msde.model.patient_score import PATIENT_COLUMNS
    from msde.model.score import batch_probabilities, with_discoveries
    from msde.serve.memory import keep_little
    from msde.storage.atomic import check_writable

    keep_little()  # or what large images leave adds up
    if why is not None and heatmaps is not None:
        raise click.UsageError("--why and --heatmaps are two runs")
    if groups.stated and by != "patient" and dicom is None:
        raise click.UsageError("--patient and --groups go with --by patient or --dicom")
    if output is None and json_is_printed():
        raise click.UsageError(
            "--json without a file and the table would both be printed; give the table a file with -o"
        )
    if why is not None:
        check_writable(why)
    loaded = AnomalyModel.load(model, cache, device)
    if why is not None:
        check_shares(loaded.scorer_)
    if sigmoid and not loaded.scorer_.batchwise:
        raise click.UsageError("--sigmoid needs a model of transductive mode; the other modes have p-values")
    exporter = None
    if dicom is not None:
        from msde.dicom import Exporter

        exporter = Exporter(loaded, model, dicom, groups)
    paths = find_images(images, tell)
    if heatmaps is not None:
        from msde.output.heat_files import HeatFiles

        files = HeatFiles(heatmaps, paths)
    with progress("Scoring", len(paths), session=loaded.session) as tick:
        if why is not None:
            scores = loaded.score_embedded(_writing_shares(loaded, ticking(loaded.embed(paths), tick), why))
        elif heatmaps is None:
            scores = loaded.score_iter(paths, tick=tick)
        else:
            scores = loaded.explain_each(paths, files.written, tick=tick)
        if sigmoid:
            scores = iter(batch_probabilities(list(scores)))
        if exporter is not None:
            scores = exporter.following(scores)
        if by == "patient":
            written = [score.without_heat() for score in scores]
            _write(_by_patient(loaded, written, groups, fdr), output, identifiers, PATIENT_COLUMNS, fdr)
        else:
            if fdr is not None:
                scores = iter(with_discoveries([score.without_heat() for score in scores], fdr))
            written = _write(scores, output, identifiers, loaded.fitted.columns, fdr)
    _report(loaded, written, groups, output, exporter)


def _score_on(cluster: Cluster, model: Path, images: Sequence[str], output: Path | None) -> None:
    """Score on a cluster, which lists the images itself."""
    from msde.cluster.api import score_on
    from msde.cluster.job_folder import JobFolder
    from msde.cluster.one_table import write_scores

    summary = score_on(cluster, model, images, remark, tell)
    if output is not None:
        write_scores(JobFolder.open(cluster.parts), output)
    report(summary, cluster.parts, output)


def _report(
    loaded: AnomalyModel,
    written: Sequence[ImageScore],
    groups: Patients,
    output: Path | None,
    exporter: Exporter | None,
) -> None:
    """Tell what the scores do not, and leave with status 3 if images could not be used."""
    from msde.images.rule import OUTDATED
    from msde.output.words import drift_in_words

    if loaded.rule.outdated:
        tell(OUTDATED)
    if loaded.scorer_.batchwise:
        tell("transductive scores depend on the batch, so they have no p-values and no flags")
    digests = [score.digest for score in written if score.digest]
    if seen := loaded.fingerprint_.count_known(digests):
        tell(f"{seen} of these images took part in the fit, where scores are too low; leave them out")
    if pooled := loaded.fingerprint_.count_pooled(digests):
        tell(
            f"{pooled} of these images were in the unlabelled pool, which the model has learned from: what it says of"
            " the pool is no measure of what it says of other images"
        )
    found = loaded.drift(written, groups)
    drift = drift_in_words(found, loaded.calibration_.alpha) if found.found else None
    if drift is not None:
        tell(drift)
    errors = [result.error for result in written if result.error is not None]
    if exporter is not None:
        errors += exporter.errors
        if exporter.skipped:
            tell(f"{exporter.skipped} of the images are no DICOM and have no DICOM results")
    answer(
        {
            "output": output and str(output),
            "rows": len(written),
            "flagged": sum(bool(row.flagged) for row in written),
            "in_the_fit": seen,
            "in_the_pool": pooled,
            "drift": drift,
            "errors": errors,
        }
    )
    report_unreadable(errors)


def _write(
    scores: Iterable[Scored], output: Path | None, identifiers: bool, columns: Sequence[str], fdr: float | None
) -> list[Scored]:
    """Write a table of scores, or print it."""
    from msde.model.score import DISCOVERY
    from msde.output.score_table import write_csv, write_table

    named = (*columns, DISCOVERY) if fdr is not None else columns
    if output is None:
        return write_csv(scores, sys.stdout, identifiers=identifiers, columns=named)
    return write_table(scores, output, identifiers=identifiers, columns=named)


def _by_patient(
    model: AnomalyModel, scores: Sequence[ImageScore], groups: Patients, fdr: float | None
) -> list[PatientScore]:
    """Put scores together by patient, and say what has come up about these."""
    from msde.model.patient_score import patients_with_discoveries, score_patients

    patients, notes = score_patients(scores, groups, None if model.scorer_.batchwise else model.patients_)
    tell_notes(notes)
    if model.patients_ is None and not model.scorer_.batchwise:
        tell(
            "no p-values, because the model is not calibrated on patients; `msde calibrate` does that with --patient,"
            " --groups, or DICOM files of several patients"
        )
    return patients if fdr is None else patients_with_discoveries(patients, fdr)


def _writing_shares(model: AnomalyModel, embedded: Iterable[Embedded], path: Path) -> Iterator[Embedded]:
    """Pass embedded images on, and write what each distance is made of, as CSV."""
    from msde.model.distance_shares import DistanceShare, check_shares, distance_shares
    from msde.storage.atomic import writing

    scorer = check_shares(model.scorer_)
    with writing(path) as unfinished, unfinished.open("w", newline="", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column.name for column in fields(DistanceShare)])
        for image in embedded:
            if image.embedding is not None:
                shares = distance_shares(scorer, model.session.blocks, image.name, image.embedding)
                writer.writerows(map(astuple, shares))
            yield image
