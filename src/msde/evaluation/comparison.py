"""A model and the one that has learnt from verdicts too, side by side on the images with verdicts, held out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.embedding.embed import Tick
from msde.method.arrays import IndexArray
from msde.method.labelled import N_RESAMPLES, Labelled, areas, cumulate
from msde.method.metrics import Metric, wilson
from msde.method.verification import Verification, effective_number
from msde.model.anomaly_model import AnomalyModel
from msde.model.fitted import FittedModel
from msde.model.retraining import Retraining

FEW = 10
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Arm:
    """One of the two models: what it says of the k images with verdicts, each held out.

    Parameters
    ----------
    scores : ndarray of shape (k,), float64
        In deviations of the held-out normals of the fit that scored, from their mean: of folds on one scale.
    p_values : ndarray of shape (k,), float64
    flagged : ndarray of shape (k,), bool
    """

    scores: Floats
    p_values: Floats
    flagged: NDArray[np.bool_]

    @classmethod
    def empty(cls, k: int) -> Arm:
        """Make room for k images."""
        return cls(np.full(k, np.nan), np.full(k, np.nan), np.zeros(k, dtype=bool))

    def put(self, chosen: NDArray[np.bool_], fitted: FittedModel, rows: NDArray[np.float32], alpha: float) -> None:
        """Score the embeddings of the chosen images."""
        calibration = replace(fitted.images, alpha=alpha)
        found = np.concatenate([fitted.scorer.score(row[None]) for row in rows[chosen]])
        spread = max(float(calibration.scores.std()), np.finfo(np.float64).tiny)
        self.scores[chosen] = (found - calibration.scores.mean()) / spread
        self.p_values[chosen] = calibration.p_values(found)
        self.flagged[chosen] = calibration.flagged(found)


@dataclass(frozen=True, eq=False)
class Comparison:
    """The old and the new model on the images with verdicts, by fits that have seen nothing of their patients.

    Parameters
    ----------
    names : list of str
        Of the k images.
    abnormal : ndarray of shape (k,), bool
    patients : ndarray of shape (k,), int
        Number of the patient of each.
    old, new : Arm
    alpha : float
        Target false-alarm rate at which images are flagged.
    verification : Verification
        Which of the images that came in have verdicts.
    looked_at : ndarray of shape (k,), float64
        P-values by which they were looked at.
    knows_others : bool
        Whether it is known which images came in without being looked at.
    """

    names: Sequence[str]
    abnormal: NDArray[np.bool_]
    patients: IndexArray
    old: Arm
    new: Arm
    alpha: float
    verification: Verification
    looked_at: Floats
    knows_others: bool

    @cached_property
    def weights(self) -> Floats:
        """How many images that came in each one stands for (k,)."""
        return self.verification.weights(self.looked_at)

    @property
    def changed(self) -> IndexArray:
        """The images that one of the models flags and the other does not, confirmed abnormal ones first."""
        rows = np.flatnonzero(self.old.flagged != self.new.flagged)
        return np.array(sorted(rows.tolist(), key=lambda row: (not self.abnormal[row], row)), dtype=np.intp)

    @cached_property
    def aurocs(self) -> tuple[Metric, Metric, Metric]:
        """AUROC of old and new, and new less old, with 95 % intervals over patients drawn alike for both."""
        both = [Labelled(arm.scores, self.abnormal, self.patients) for arm in (self.old, self.new)]
        draws = [np.ones((1, len(self.names))), *both[0].resampled(N_RESAMPLES)]
        old, new = (np.concatenate([areas(arm, self.weights * draw)[0] for draw in draws]) for arm in both)
        first, second, third = (Metric.resampled(figures) for figures in (old, new, new - old))
        return first, second, third

    def share_flagged(self, arm: Arm, *, abnormal: bool) -> Metric | None:
        """Return the share of normal or abnormal images that is flagged, with Wilson's 95 % interval over patients.

        None where none below the threshold was looked at, of which nothing is known then.
        """
        chosen = self.abnormal == abnormal
        if not self.verification.covers_all:
            return None
        weights = self.weights[chosen]
        share = float(weights @ arm.flagged[chosen] / weights.sum())
        n = effective_number(weights, self.patients[chosen])
        return Metric(share, *wilson(share * n, n))

    def roc(self, arm: Arm) -> list[tuple[float, float]]:
        """Return the corners of a ROC curve: share of normals and of abnormal images called, from (0, 0) to (1, 1)."""
        called, found, last = cumulate(Labelled(arm.scores, self.abnormal, self.patients), self.weights[None])
        abnormal = found[0, last]
        normal = called[0, last] - abnormal
        points = np.stack([normal / normal[-1], abnormal / abnormal[-1]], axis=1)
        return [(0.0, 0.0), *((float(x), float(y)) for x, y in points)]

    @property
    def bias(self) -> str | None:
        """What is to be said of which images were looked at; None where all that came in were."""
        (flagged, of_flagged), (others, of_others) = self.verification.flagged, self.verification.unflagged
        if not others:
            return (
                f"only flagged images have verdicts ({flagged} of {of_flagged}), so normals that were not flagged are"
                " not known here: AUROC is that among flagged images, which favours the new model, because the old one"
                " chose them, and how many normals or abnormal images either model flags cannot be told; give verdicts"
                " on some of the other images too, as they come"
            )
        if of_flagged and not flagged:
            return (
                f"no flagged image has a verdict (of {of_flagged}), so what flags are worth is not known here; give"
                " verdicts on these too"
            )
        if not self.knows_others:
            return (
                "which images have no verdict is not known: the figures hold for images chosen as those that have one"
            )
        if flagged == of_flagged and others == of_others:
            return None
        n = effective_number(self.weights, self.patients)
        return (
            f"{flagged} of {of_flagged} flagged images and {others} of {of_others} others have verdicts; each counts"
            f" for the images with such p-values that it stands for (inverse probability weights), which leaves the"
            f" worth of {n:.0f} of {len(np.unique(self.patients))} patients"
        )

    @property
    def notes(self) -> list[str]:
        """What is to be said of the figures, a line each."""
        counts = {"normal": int((~self.abnormal).sum()), "abnormal": int(self.abnormal.sum())}
        few = [f"{n} {kind}" for kind, n in counts.items() if n < FEW]
        said = [f"{' and '.join(few)} images are few: figures are rough, and intervals too narrow"] if few else []
        return [*([self.bias] if self.bias else []), *said]

    def figures(self, name: Callable[[int], Any] | None = None) -> dict[str, Any]:
        """Return the figures, ready for JSON.

        Parameters
        ----------
        name : callable, optional
            Gives what stands for an image, by its number; by default its name.

        Returns
        -------
        dict
            n_normal, n_abnormal, n_patients, alpha, notes; old and new, each with auroc, flags_per_1000 (of normals),
            sensitivity, and of each its interval (_ci), and roc; difference of AUROC and difference_ci; changed: image,
            abnormal, old_p_value, new_p_value, now_flagged of each image that changes sides.
        """
        old, new, difference = self.aurocs
        naming = name or self.names.__getitem__
        return {
            "n_normal": int((~self.abnormal).sum()),
            "n_abnormal": int(self.abnormal.sum()),
            "n_patients": len(np.unique(self.patients)),
            "alpha": self.alpha,
            "old": self._of(self.old, old),
            "new": self._of(self.new, new),
            "difference": difference.value,
            "difference_ci": [difference.low, difference.high],
            "notes": self.notes,
            "changed": [
                {
                    "image": naming(row),
                    "abnormal": bool(self.abnormal[row]),
                    "old_p_value": float(self.old.p_values[row]),
                    "new_p_value": float(self.new.p_values[row]),
                    "now_flagged": bool(self.new.flagged[row]),
                }
                for row in self.changed.tolist()
            ],
        }

    def _of(self, arm: Arm, auroc: Metric) -> dict[str, Any]:
        normals, abnormals = (self.share_flagged(arm, abnormal=label) for label in (False, True))
        return {
            "auroc": auroc.value,
            "auroc_ci": [auroc.low, auroc.high],
            "flags_per_1000": normals and 1000 * normals.value,
            "flags_per_1000_ci": normals and [1000 * normals.low, 1000 * normals.high],
            "sensitivity": abnormals and abnormals.value,
            "sensitivity_ci": abnormals and [abnormals.low, abnormals.high],
            "roc": [list(point) for point in self.roc(arm)],
        }

    def summary(self) -> list[str]:
        """Return the figures in words, a line each."""
        old, new, difference = self.aurocs
        figures = self.figures()
        lines = [
            f"{len(self.names)} images with verdicts, {figures['n_normal']} normal and {figures['n_abnormal']} abnormal"
            f", of {figures['n_patients']} patients; each scored by fits that saw nothing of its patient",
            f"{'':34}{'before':>24}{'after':>24}",
            f"{'AUROC':34}{_in_words(old, '.3f'):>24}{_in_words(new, '.3f'):>24}",
        ]
        for label, what, scale in (
            (False, "flags in 1,000 normal images", 1000),
            (True, "abnormal images flagged, %", 100),
        ):
            shares = [self.share_flagged(arm, abnormal=label) for arm in (self.old, self.new)]
            cells = "".join(f"{_in_words(share, '.0f', scale):>24}" for share in shares)
            lines.append(f"{what:34}{cells}")
        among = "" if self.verification.covers_all else " among the images looked at"
        chance = ", which may be chance" if difference.low <= 0 <= difference.high else ""
        lines.append(
            f"AUROC after less before{among}: {difference.value:+.3f} (95 % interval {difference.low:+.3f} to"
            f" {difference.high:+.3f}){chance}; target {1000 * self.alpha:.0f} flags in 1,000 normal images"
        )
        lines.append(f"{len(self.changed)} of the images with verdicts change sides{':' if len(self.changed) else ''}")
        for one in figures["changed"]:
            lines.append(
                f"  {one['image']}: {'abnormal' if one['abnormal'] else 'normal'},"
                f" {'flagged now' if one['now_flagged'] else 'not flagged any more'}"
                f" (p = {one['old_p_value']:.2g} before, {one['new_p_value']:.2g} after)"
            )
        return lines


def compare(
    retraining: Retraining,
    looked_at: Mapping[str, float] | None = None,
    others: Floats | None = None,
    alpha: float | None = None,
    tick: Tick | None = None,
) -> Comparison:
    """Compare a model with the one that learns from verdicts, by cross-validation over the patients of these.

    The old model stands for itself where it has not seen the patients, and is otherwise fitted again without them.

    Parameters
    ----------
    retraining : Retraining
    looked_at : mapping of str to float, optional
        P-values of the images with verdicts when they were looked at, by name; where there is none, or NaN, that of the
        old model counts.
    others : ndarray of shape (n,), float64, optional
        P-values of the images that came in and have no verdict; by default these are not known.
    alpha : float, optional
        False-alarm rate at which images are flagged, in (0, 1); by default the model's own.
    tick : callable, optional
        Called after each fold.

    Returns
    -------
    Comparison
    """
    rows, k = retraining.judged.rows, len(retraining.units)
    alpha = retraining.old.images.alpha if alpha is None else alpha
    old, new = Arm.empty(k), Arm.empty(k)
    for fold in retraining.folds():
        chosen = np.isin(retraining.units, fold)
        before = retraining.old
        if retraining.touches(fold):
            before, _ = retraining.fit(retraining.seen, fold)
        old.put(chosen, before, rows, alpha)
        new.put(chosen, retraining.fit(left_out=fold)[0], rows, alpha)
        if tick is not None:
            tick()
    then = np.array([(looked_at or {}).get(name, np.nan) for name in retraining.judged.names])
    p_values = np.where(np.isnan(then), old.p_values, then)
    verification = Verification.of(p_values, np.empty(0) if others is None else others, alpha)
    return Comparison(
        retraining.judged.names,
        retraining.abnormal,
        retraining.units,
        old,
        new,
        alpha,
        verification,
        p_values,
        others is not None,
    )


def p_values_of_unseen(model: AnomalyModel, images: Iterable[Path], tick: Tick | None = None) -> Floats:
    """Return the p-values of images, without those that cannot be used and those that the model has learnt from."""
    scores = [score for score in model.score_iter(images, tick=tick) if score.error is None]
    seen = model.fitted.has_seen([score.digest for score in scores])
    return np.array([score.p_value for score, known in zip(scores, seen, strict=True) if not known])


def _in_words(metric: Metric | None, form: str, scale: float = 1) -> str:
    if metric is None:
        return "not known"
    value, low, high = (format(scale * number, form) for number in (metric.value, metric.low, metric.high))
    return f"{value} ({low} to {high})"
