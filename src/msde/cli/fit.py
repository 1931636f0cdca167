"""`msde fit`: normal images in, a model file out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from msde.cli.options import (
    Rate,
    with_answer,
    with_backbone,
    with_cache,
    with_checkpoint,
    with_confidence,
    with_device,
    with_groups,
    with_input_size,
    with_kinds,
    with_look,
    with_output,
    with_paths,
    with_rule,
)
from msde.cli.progress import answer, progress, remark, report_unreadable, say, tell, tell_how_sure, tell_notes
from msde.cli.ray import refuse_with_ray, with_ray

LISTED = 10
DIM = 0.1

if TYPE_CHECKING:
    from msde.backbones import Backbone
    from msde.cluster.cluster import Cluster
    from msde.embedding.cache import EmbeddingCache
    from msde.images import ImageRule, Part
    from msde.images.patients import GroupTable, Patients
    from msde.method.density_weights import Weighting
    from msde.method.detection import Detection, GaussianKind, Mode
    from msde.method.unlabelled_pool import Direction
    from msde.model.anomaly_model import AnomalyModel
    from msde.model.applicability import Applicability


@click.command()
@click.argument("normals", nargs=-1, required=True, metavar="NORMALS...", type=click.Path())
@with_output(required=True, help="Model file to write.")
@with_backbone
@with_look
@with_rule
@with_checkpoint
@click.option(
    "--mode",
    type=click.Choice(["inductive", "adaptive", "transductive"]),
    help="Score each image alone; alone, learning from --unlabelled too; or all with the normals, as published."
    " [default: inductive, with --unlabelled adaptive]",
)
@click.option(
    "--shift/--no-shift",
    default=True,
    show_default=True,
    help="With --mode inductive: score an image by its displacement in the shift, or by its position.",
)
@click.option(
    "--weighting",
    type=click.Choice(["density", "published", "uniform"]),
    default="density",
    show_default=True,
    help="Weights of the normals in the shift: as the authors state them, as their scripts compute them, or none.",
)
@click.option(
    "--gaussian",
    type=click.Choice(["pca", "ledoit-wolf"]),
    help="The published Gaussian on 256 principal axes, or one with shrunk covariance."
    " [default: ledoit-wolf, with --mode transductive pca]",
)
@with_paths(
    "--unlabelled",
    help="Images as they come in, normal and abnormal, to learn from; may be repeated.",
)
@with_paths(
    "--abnormal",
    help="Images that are known to be abnormal, from one on, to learn from too: what is like them scores higher; may be"
    " repeated. With --unlabelled they decide too how far what that shows is used.",
)
@with_kinds
@click.option(
    "--alpha",
    type=Rate(),
    default=0.05,
    show_default=True,
    help="Target false-alarm rate: the expected share of normal images that is flagged.",
)
@click.option(
    "--applies-to",
    multiple=True,
    metavar="MODALITY[:BODYPART]",
    help="DICOM images that the model is for, such as DX:CHEST; may be repeated; others are not scored. any: all."
    " [default: those that the headers of the normals state; with --ray any]",
)
@with_confidence
@with_groups
@click.option(
    "--distrusted",
    type=click.Path(path_type=Path),
    help="File to write: paths of the normals that stand out from the others, one a line, the most doubtful first.",
)
@with_input_size
@click.option("--int8", is_flag=True, help="Store the weights of the networks as 8-bit integers; needs the extra onnx.")
@click.option(
    "--half/--no-half",
    default=None,
    help="Store the weights of the networks in half precision, in half the space; needs the extra onnx."
    " [default: those of more than 100 MB]",
)
@click.option(
    "--select",
    is_flag=True,
    help="Choose the --look that best tells normals from synthetic anomalies, or from --unlabelled; needs no labels.",
)
@click.option(
    "--heatmaps/--no-heatmaps",
    default=True,
    show_default=True,
    help="Learn to tell where an image differs too, for `msde score --heatmaps` and reports; adds some 13 MB to the"
    " model. Not with --ray.",
)
@click.option(
    "--patches",
    type=click.Choice(["places", "modes", "subspace"]),
    help="What heat maps take for normal: each place of the feature maps by itself, directions near those of normal"
    " patches, or the axes along which normal patches vary. [default: subspace for transformers, else places]",
)
@click.option(
    "--calm",
    type=Rate(),
    default=0.05,
    show_default=True,
    help="Share of normal images that may show any colour in their heat maps.",
)
@click.option(
    "--landmarks",
    type=click.IntRange(min=100),
    default=50_000,
    show_default=True,
    help="With --ray, of more normals than this, this many decide scale, shift and calibration; in inductive mode the"
    " Gaussian is that of all.",
)
@with_device
@with_cache
@with_ray
@with_answer
def fit(
    normals: tuple[str, ...],
    output: Path,
    backbones: tuple[str, ...],
    looks: tuple[str, ...],
    intensity: str,
    aspect: str,
    checkpoint: Path | None,
    mode: Mode | None,
    shift: bool,
    weighting: Weighting,
    gaussian: GaussianKind | None,
    unlabelled: tuple[str, ...],
    abnormal: tuple[str, ...],
    kinds: Path | None,
    alpha: float,
    applies_to: tuple[str, ...],
    confidence: float | None,
    groups: Patients,
    distrusted: Path | None,
    input_size: int | None,
    int8: bool,
    half: bool | None,
    select: bool,
    heatmaps: bool,
    patches: str | None,
    calm: float,
    landmarks: int,
    device: str,
    cache: EmbeddingCache | None,
    cluster: Cluster | None,
) -> None:
    """Learn what normal images look like and write a model file.

    NORMALS are files, folders (searched recursively) or globs of normal images.
    """
    from msde.backbones.known import BUILT_IN
    from msde.embedding.encoder import DEFAULT_LOOKS
    from msde.errors import ModelFileError
    from msde.images import ImageRule, find_images
    from msde.images.patients import GroupTable
    from msde.model.anomaly_model import AnomalyModel
    from msde.model.applicability import Applicability
    from msde.storage.atomic import check_writable

    backbones = backbones or (BUILT_IN,)
    mode = mode or ("adaptive" if unlabelled else "inductive")
    _check_mode(mode, shift, gaussian, unlabelled, abnormal)
    if kinds is not None and not abnormal:
        raise click.UsageError("--kinds are those of --abnormal; give this too")
    if int8 and half:
        raise click.UsageError("--int8 and --half are two ways to store weights; give one")
    if select and looks:
        raise click.UsageError("--select chooses the looks; leave --look out")
    rule, stated = ImageRule(intensity, aspect), Applicability.stated(applies_to) if applies_to else None
    check_writable(output, ModelFileError)
    if distrusted is not None:
        check_writable(distrusted)
    detector = _detector(mode, alpha, shift, weighting, gaussian)
    table = None if kinds is None else GroupTable.read(kinds, tell, "kind")
    if cluster is not None:
        refuse_with_ray(select=select, cache=cache)
        networks = _networks(backbones, checkpoint, input_size, int8, half)
        unfitted = AnomalyModel(networks, detector, None, looks or DEFAULT_LOOKS, rule, device)
        model = _fit_on(cluster, unfitted, normals, unlabelled, landmarks, groups, confidence, abnormal, table, stated)
        heatmaps = False
    else:
        paths, pool = find_images(normals, tell), find_images(unlabelled, tell) if unlabelled else None
        labelled = find_images(abnormal, tell) if abnormal else None
        networks = _networks(backbones, checkpoint, input_size, int8, half)
        if select:
            looks = _selected(networks, paths, pool, rule, cache, device, groups)
        model = AnomalyModel(networks, detector, cache, looks or DEFAULT_LOOKS, rule, device)
        n_images = len(paths) + len(pool or ()) + len(labelled or ())
        with progress("Embedding", n_images, session=model.session) as tick:
            model.fit(
                paths,
                pool,
                abnormal=labelled,
                kinds=table,
                groups=groups,
                heatmaps=heatmaps,
                patches=patches,
                calm=calm,
                confidence=confidence,
                applies_to=applies_to or None,
                tick=tick,
            )
    model.save(output)
    _report(model, output, distrusted)
    if heatmaps and not model.explains:
        tell("no heat maps, which take 10 normals and a network with feature maps")
    figures = {"distrusted": model.distrusted_, "copies": model.n_copies_, "notes": list(model.notes_)}
    answer({"output": str(output), **model.info(), **figures, "errors": model.unreadable_})
    report_unreadable(model.unreadable_)


def _check_mode(
    mode: str, shift: bool, gaussian: str | None, unlabelled: Sequence[str], abnormal: Sequence[str]
) -> None:
    """Refuse what does not go with the mode."""
    if (mode == "adaptive") != bool(unlabelled):
        raise click.UsageError("--mode adaptive and --unlabelled go together")
    if not shift and mode != "inductive":
        raise click.UsageError("--no-shift goes with --mode inductive")
    if gaussian == "pca" and mode == "adaptive":
        raise click.UsageError("--gaussian pca does not go with --mode adaptive")
    if abnormal and mode == "transductive":
        raise click.UsageError("--abnormal does not go with --mode transductive")


def _detector(mode: Mode, alpha: float, shift: bool, weighting: Weighting, gaussian: GaussianKind | None) -> Detection:
    """Return what is to be fitted; scikit-learn takes a second to import, and only the transductive mode needs it."""
    from msde.method.detection import Detection

    return (_transductive() if mode == "transductive" else Detection)(
        mode,
        alpha=alpha,
        shift="displacement" if shift else None,
        weighting=weighting,
        gaussian=gaussian,
    )


def _transductive() -> type[Detection]:
    from msde.estimators.detector import MSDEDetector

    return MSDEDetector


def _networks(
    names: Sequence[str], checkpoint: Path | None, input_size: int | None, int8: bool, half: bool | None
) -> list[Backbone]:
    from msde.backbones import load_backbone

    networks = [load_backbone(name, checkpoint, input_size) for name in names]
    if int8:
        from msde.backbones.quantize import with_int8_weights

        return [with_int8_weights(network) for network in networks]
    from msde.cli.stored_weights import stored

    return [stored(network, half) for network in networks]


def _selected(
    networks: Sequence[Backbone],
    paths: Sequence[Path | Part],
    pool: Sequence[Path | Part] | None,
    rule: ImageRule,
    cache: EmbeddingCache | None,
    device: str,
    groups: Patients,
) -> tuple[str, ...]:
    """Return the looks chosen for the images, and name them."""
    from msde.model.feature_selection import select_looks

    looks = tuple(map(str, select_looks(networks, paths, pool, rule, cache, device, groups).chosen))
    say(f"chosen looks: {' '.join(looks)}")
    if pool is not None:
        tell("a choice by a pool does harm where few of its images are abnormal")
    return looks


def _fit_on(
    cluster: Cluster,
    unfitted: AnomalyModel,
    normals: Sequence[str],
    unlabelled: Sequence[str],
    landmarks: int,
    groups: Patients,
    confidence: float | None,
    abnormal: Sequence[str],
    kinds: GroupTable | None,
    applies_to: Applicability | None,
) -> AnomalyModel:
    """Fit on a cluster, which lists the images itself."""
    from msde.cluster.fit import fit_on

    model, summaries = fit_on(
        cluster, unfitted, normals, unlabelled, landmarks, remark, groups, confidence, abnormal, kinds, applies_to
    )
    for summary in summaries:
        for line in summary.lines():
            remark(line)
    return model


def _report(model: AnomalyModel, output: Path, distrusted: Path | None) -> None:
    """Tell what the model was fitted on, and list the distrusted normals."""
    from msde.method.scorers import AdaptiveScorer, LabelledScorer
    from msde.output.score_table import write_lines

    tell_notes(model.notes_)
    if model.volumes_ is not None:
        say(f"{len(model.volumes_.scores)} whole volumes are calibrated on too")
    if model.patients_ is not None:
        say(f"{model.patients_.n_patients} patients are calibrated on too, for one p-value of all their images")
    say(f"{output}: fitted on {model.fingerprint_.n_normals} normal images")
    if model.fitted.labels is not None:
        say(f"and on {model.fitted.labels.in_words()}")
    if model.fitted.applies_to is not None:
        known = model.fitted.applies_to
        say(f"for images that are {known.in_words} ({known.source}); DICOM images of another kind are not scored")
    if model.n_copies_:
        say(f"{model.n_copies_} exact copies of other images are left out")
    if model.distrusted_:
        n = len(model.distrusted_)
        say(f"{n} normals stand out from the others; look whether they are normal. They need not be abnormal,")
        say("because up to a quarter of clean normals did so where this was measured. Most of all:")
        for name in model.distrusted_[:LISTED]:
            say(f"  {name}")
        if n > LISTED and distrusted is None:
            say(f"  and {n - LISTED} more; --distrusted FILE lists all")
    if distrusted is not None:
        write_lines(model.distrusted_, distrusted)
    if isinstance(model.scorer_, AdaptiveScorer | LabelledScorer) and model.scorer_.direction is not None:
        say(_words(model.scorer_.direction, isinstance(model.scorer_, LabelledScorer)))
    if model.peak_ < DIM:
        tell(
            f"no pixel is brighter than {model.peak_:.1%} of the range, as with 12-bit data in a 16-bit file;"
            " fit with --intensity percentile or window:LOW,HIGH"
        )
    if not model.scorer_.batchwise:
        tell_how_sure(model.calibration_)


def _words(direction: Direction, labelled: bool) -> str:
    """Tell what the pool contributes, and whether labels had a say."""
    weight = direction.weight or 0
    figures = f"evidence {direction.evidence:.2f}, weight of their direction {weight:.2f}"
    if weight == 0:
        unconfirmed = ", or none that the labels confirm" if labelled else ""
        return (
            f"the unlabelled images show no distinct abnormal group{unconfirmed} ({figures}); scores are those without"
            " them"
        )
    if labelled:
        return f"the unlabelled images show a distinct group that is abnormal by the labels ({figures})"
    return (
        f"the unlabelled images show a distinct group ({figures}); scores use what it shares. Whether it is abnormal,"
        " or normals of another source, cannot be seen without labels"
    )
