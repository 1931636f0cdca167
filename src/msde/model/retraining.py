"""A fitted model fitted again: to its normals, and to images that readers have confirmed as normal or abnormal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from msde.embedding.cache import Embeddings
from msde.embedding.embed import Embedded, Tick, ticking
from msde.errors import DataError, MSDEError
from msde.images import Part
from msde.images.patients import Patients
from msde.method.arrays import IndexArray
from msde.method.calibration import normals_needed
from msde.method.detection import Detection
from msde.method.groups import UNKNOWN
from msde.method.labelled_fit import FEWEST_NORMALS
from msde.method.scorers import InductiveScorer, LabelledScorer
from msde.model.anomaly_model import AnomalyModel
from msde.model.fit_report import FitReport
from msde.model.fitted import CONFIRMED, FittedModel
from msde.model.grouping import check_ways
from msde.model.labels import check_labels
from msde.model.learning import learn
from msde.model.training_set import TrainingSet

N_FOLDS = 5
_LISTED = 5


@dataclass(frozen=True, eq=False)
class Retraining:
    """What a model is fitted to again.

    Parameters
    ----------
    old : FittedModel
    normals : TrainingSet
        Those that it was fitted on.
    judged : TrainingSet
        Images with verdicts, none of which is one of the normals.
    abnormal : ndarray of shape (k,), bool
        Whether each is confirmed as abnormal; the others are confirmed normals.
    units : ndarray of shape (k,), int
        Number of the patient of each; one that is not known is a patient's own.
    units_of_normals : ndarray of shape (n,), int
        Of the normals likewise.
    labelled : TrainingSet or None
        Further labelled abnormal images.
    units_of_labelled : ndarray of shape (l,), int
        Of these likewise.
    notes : list of str
        What is to be told, a line each.
    unreadable : list of str
        One line for each image that cannot be used.
    """

    old: FittedModel
    normals: TrainingSet
    judged: TrainingSet
    abnormal: NDArray[np.bool_]
    units: IndexArray
    units_of_normals: IndexArray
    labelled: TrainingSet | None
    units_of_labelled: IndexArray
    notes: Sequence[str]
    unreadable: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        old: FittedModel,
        normals: TrainingSet,
        judged: TrainingSet,
        abnormal: Mapping[bytes, bool],
        labelled: TrainingSet | None = None,
    ) -> Self:
        """Put together what a model is to learn from.

        Parameters
        ----------
        old : FittedModel
            In inductive mode, with labels or without.
        normals : TrainingSet
            Among which those that it was fitted on are looked for; the others are left out.
        judged : TrainingSet
            Images with verdicts.
        abnormal : mapping of bytes to bool
            Whether each is abnormal, by its digest.
        labelled : TrainingSet, optional
            Labelled abnormal images, among which those that the model has learnt from before are looked for likewise.

        Raises
        ------
        DataError
            If too few of its normals are given, an abnormal image is among them, a labelled one is called normal, or
            the verdicts are too few: abnormal images of two patients and one normal are the least that can be learnt
            from and held out.
        MSDEError
            If the model is in another mode.
        """
        inductive_scorer(old)
        known = old.fingerprint.known(normals.digests)
        if known.sum() < FEWEST_NORMALS:
            raise DataError(
                f"{known.sum()} of the {len(known)} normals given took part in the fit of the model; give the"
                f" {old.fingerprint.n_normals} that it was fitted on, at least {FEWEST_NORMALS} of them"
            )
        normals = normals.only(known)
        of_rows = np.array([abnormal[digest] for digest in judged.digests], dtype=bool)
        check_labels(normals, judged.only(of_rows))
        there = set(normals.digests)
        fresh = np.array([digest not in there for digest in judged.digests], dtype=bool)
        judged, of_rows = judged.only(fresh), of_rows[fresh]
        if labelled is not None and old.labels is not None:
            labelled = labelled.only(old.labels.fingerprint.known(labelled.digests))
            check_labels(TrainingSet.union([normals, judged.only(~of_rows)]), labelled)
        else:
            labelled = None
        numbers = _numbered([normals, judged, *([labelled] if labelled else [])])
        units = numbers[1]
        n_abnormal, n_patients = int(of_rows.sum()), len(np.unique(units[of_rows]))
        if n_patients < 2 or of_rows.all():
            raise DataError(
                f"verdicts call {n_abnormal} images of {n_patients} patients abnormal and {len(of_rows) - n_abnormal}"
                " normal; at least two patients with abnormal images, so that one can be held out, and one normal are"
                " needed"
            )
        learnt = old.fingerprint.known(judged.digests) & ~of_rows
        notes = list(_notes(old, normals, judged, learnt, labelled))
        of_labelled = numbers[2] if labelled else np.empty(0, dtype=np.intp)
        found = cls(old, normals, judged, of_rows, units, numbers[0], labelled, of_labelled, notes)
        return replace(found, notes=[*notes, *found._notes_on_calibration()])

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which images with verdicts (k,) the model has learnt from before."""
        return self.old.has_seen(self.judged.digests)

    @cached_property
    def by_confirmed(self) -> bool:
        """Whether confirmed normals calibrate every fit: the model was calibrated at a place, and the least are enough.

        One answer for all, because flags of fits that are calibrated on other normals cannot be compared.
        """
        return self.old.calibrated_at_place and self._fewest_confirmed >= self._needed

    def folds(self) -> list[IndexArray]:
        """Deal the patients of the images with verdicts to at most five folds; those with abnormal images come first.

        The order of the images changes nothing.
        """
        first = {unit: min(self._digests(unit)) for unit in np.unique(self.units).tolist()}
        ill = set(self.units[self.abnormal].tolist())
        patients = np.array(sorted(first, key=lambda unit: (unit not in ill, first[unit])))
        n_folds = min(N_FOLDS, len(patients))
        return [patients[number::n_folds] for number in range(n_folds)]

    def fit(
        self, learnt: NDArray[np.bool_] | None = None, left_out: IndexArray | tuple[()] = ()
    ) -> tuple[FittedModel, FitReport]:
        """Fit again, with the networks and heat maps of the model.

        Images that are given verdicts because they were flagged score high, so p-values and threshold go by the normals
        of the first fit alone; where the model was calibrated at the place, by the confirmed normals, if there are
        enough whichever fold is left out (`by_confirmed`).

        Parameters
        ----------
        learnt : ndarray of shape (k,), bool, optional
            Which images with verdicts to learn from; by default all.
        left_out : ndarray of shape (p,), int
            Patients of whom nothing is learnt.

        Returns
        -------
        FittedModel
        FitReport
        """
        chosen = ~np.isin(self.units, left_out)
        if learnt is not None:
            chosen &= learnt
        normals = self.normals.only(~np.isin(self.units_of_normals, left_out))
        confirmed = self.judged.only(chosen & ~self.abnormal)
        abnormal = [self.judged.only(chosen & self.abnormal)]
        if self.labelled is not None:
            abnormal.append(self.labelled.only(~np.isin(self.units_of_labelled, left_out)))
        labelled = TrainingSet.union(abnormal)
        fitted, report = learn(
            TrainingSet.union([normals, confirmed]),
            None,
            detector_like(self.old),
            self.old.encoder,
            self.old.rule,
            self.old.localizer,
            self.old.images.confidence,
            labelled if len(labelled.rows) else None,
            calibrating=confirmed if self.by_confirmed else normals,
            source=CONFIRMED if self.by_confirmed else None,
        )
        return replace(fitted, applies_to=self.old.applies_to), report

    def touches(self, patients: IndexArray) -> bool:
        """Whether the model has learnt anything of the patients."""
        of_all = (self.units_of_normals, self.units_of_labelled, self.units[self.seen])
        return any(np.isin(units, patients).any() for units in of_all)

    @property
    def _needed(self) -> int:
        return normals_needed(self.old.images.alpha, self.old.images.confidence)

    @property
    def _fewest_confirmed(self) -> int:
        """Patients of the confirmed normals of that fit of a comparison which has the fewest."""
        folds = self.folds()
        fits = [(~self.abnormal, fold) for fold in folds]
        # There the old model is fitted again, to what it has learnt from before.
        fits += [(~self.abnormal & self.seen, fold) for fold in folds if self.touches(fold)]
        return min(len(np.setdiff1d(self.units[confirmed], fold)) for confirmed, fold in fits)

    def _notes_on_calibration(self) -> Iterator[str]:
        if self.old.calibrated_at_place and not self.by_confirmed:
            yield (
                f"the model was calibrated at the place, and the new one is not: normals of {self._needed} patients are"
                f" needed for that whichever fold is held out, and {self._fewest_confirmed} are confirmed; p-values go"
                " by the normals of the first fit until it is calibrated again at the place"
            )

    def _digests(self, unit: int) -> list[bytes]:
        return [self.judged.digests[row] for row in np.flatnonzero(self.units == unit)]


def gather(
    model: AnomalyModel,
    normals: Iterable[Path | Part],
    verdicts: Mapping[Path, bool],
    groups: Patients | None = None,
    abnormal: Iterable[Path | Part] | None = None,
    tick: Tick | None = None,
    kept: Embeddings | None = None,
) -> Retraining:
    """Embed what a model is to learn from.

    Parameters
    ----------
    model : AnomalyModel
        Fitted.
    normals : iterable of Path and Part
        Those that it was fitted on, and others, which are left out.
    verdicts : mapping of Path to bool
        Images with verdicts, and whether each is abnormal.
    groups : Patients, optional
        How it is told which images are of one patient; by default DICOM files go by their headers.
    abnormal : iterable of Path and Part, optional
        Labelled abnormal images that it learnt from before, and others, which are left out.
    tick : callable, optional
        Called after each image.
    kept : Embeddings, optional
        Where those of the normals are kept; by default where the model keeps all.

    Raises
    ------
    DataError, MSDEError
        As `Retraining.of`.
    """
    patients = groups or Patients()
    keeping = AnomalyModel.of(model.fitted, model.session, kept or model.cache)
    names: dict[str, dict[bytes, str]] = {"normals": {}, "judged": {}, "labelled": {}}
    called: dict[bytes, set[bool]] = {}

    def noting(kind: str, images: Iterable[Embedded]) -> Iterator[Embedded]:
        for image in ticking(images, tick):
            if image.digest:
                names[kind].setdefault(image.digest, image.name)
            yield image

    def judging(images: Iterable[Embedded]) -> Iterator[Embedded]:
        for image, is_abnormal in zip(images, verdicts.values(), strict=True):
            if image.digest:
                called.setdefault(image.digest, set()).add(is_abnormal)
            yield image

    streams = [noting("normals", keeping.embed(normals)), noting("judged", judging(model.embed(list(verdicts))))]
    if abnormal is not None:
        streams.append(noting("labelled", model.embed(abnormal)))
    # As one set, because what DICOM headers state of patients means something else where all state the same.
    together = TrainingSet.collect(chain.from_iterable(streams), "given", 1, lambda image: patients.keys(image.source))

    def of_kind(kind: str, without: Collection[bytes] = ()) -> TrainingSet:
        chosen = np.array([digest in names[kind] and digest not in without for digest in together.digests])
        found = together.only(chosen)
        return replace(found, names=[names[kind][digest] for digest in found.digests])

    torn = {digest for digest, said in called.items() if len(said) > 1}
    judged = of_kind("judged", torn)
    notes = [*together.notes, *check_ways(patients, judged.names, judged.keys)]
    if torn:
        listed = ", ".join(sorted(names["judged"][digest] for digest in torn)[:_LISTED])
        notes.append(f"{len(torn)} images are left out, whose copies are called otherwise: {listed}")
    found = Retraining.of(
        model.fitted,
        of_kind("normals"),
        judged,
        {digest: True in said for digest, said in called.items()},
        None if abnormal is None else of_kind("labelled"),
    )
    return replace(found, notes=[*found.notes, *notes], unreadable=together.errors)


def detector_like(fitted: FittedModel) -> Detection:
    """Return an unfitted detector with the settings of a model in inductive mode, as far as its arrays tell them.

    Weights as published (`--weighting published`) cannot be told from those by density, which are taken. Raises
    MSDEError for a model in another mode.
    """
    scorer = inductive_scorer(fitted)
    d, n_axes = scorer.gaussian.whitening.shape
    alike = scorer.shift is not None and bool((scorer.shift.weights == scorer.shift.weights[0]).all())
    return Detection(
        alpha=fitted.images.alpha,
        shift=None if scorer.shift is None else "displacement",
        weighting="uniform" if alike else None,
        gaussian="pca" if n_axes < d and not scorer.gaussian.outside else None,
    )


def inductive_scorer(fitted: FittedModel) -> InductiveScorer:
    """Return the scorer of a model in inductive mode, without its labels; raises MSDEError for other modes."""
    scorer = fitted.scorer.scorer if isinstance(fitted.scorer, LabelledScorer) else fitted.scorer
    if not isinstance(scorer, InductiveScorer):
        raise MSDEError(
            f"verdicts are learnt in inductive mode; this model is {fitted.mode}, so fit one without --mode"
        )
    return scorer


def _numbered(sets: Sequence[TrainingSet]) -> list[IndexArray]:
    """Return the numbers of the patients of several sets together; an image of no known patient is one's own."""
    together = TrainingSet.union(sets)
    numbers = together.groups.copy()
    alone = np.flatnonzero(numbers == UNKNOWN)
    numbers[alone] = numbers.max(initial=-1) + 1 + np.arange(len(alone))
    of_digest = dict(zip(together.digests, numbers.tolist(), strict=True))
    return [np.array([of_digest[digest] for digest in one.digests], dtype=np.intp) for one in sets]


def _notes(
    old: FittedModel,
    normals: TrainingSet,
    judged: TrainingSet,
    learnt: NDArray[np.bool_],
    labelled: TrainingSet | None,
) -> Iterator[str]:
    missing = old.fingerprint.n_normals - len(normals.rows) - int(learnt.sum())
    if missing > 0:
        yield (
            f"{missing} of the {old.fingerprint.n_normals} normals that the model was fitted on are not among those"
            " given, and are not learnt from again"
        )
    if old.labels is not None:
        given = [*judged.digests, *(labelled.digests if labelled else ())]
        forgotten = len(old.labels.of_rows) - old.labels.fingerprint.count_known(given)
        if forgotten > 0:
            yield (
                f"{forgotten} of the {len(old.labels.of_rows)} labelled abnormal images that the model learnt from are"
                " not among those given, and are forgotten"
            )
    if (judged.groups == UNKNOWN).all():
        yield (
            "the patients of the images with verdicts are not known, and each image counts as a patient's own; where"
            " several are of one, the figures are too good"
        )
