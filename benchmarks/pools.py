"""Unlabelled pools as benchmarks draw them: of the set itself, of its normals in part, and of other sets.

A pool's normals differ from the training normals in three ways. "Own": other patients of the same set. "Part": the
model is fitted to half of the patients, those on one side of the first principal axis of the normals, so that half of
the pool's normals are of a kind that it has not seen. "Other set": the pool is of another set of the same modality.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from embeddings import Sets
from protocol import mixture

from msde.benchmark.draws import Subset, halves
from msde.method.scorers import InductiveScorer

SHARES = (0.01, 0.05, 0.10, 0.20, 0.50)
NO_HARM = SHARES[:4]
MODALITIES = (
    ("brain_mri_nickparvar", "lgg_flair_hemispheres", "mri_dwi_stroke"),
    ("fundus_idrid_dr", "fundus_odir_glaucoma"),
    ("ct_covid_sarscov2", "ct_ich_phe"),
    ("busi_ultrasound", "us_lung_pocus"),
    ("nih_cxr_pneumonia", "xray_knee_osteoarthritis"),
    ("bloodsmear_leukemia", "cytology_sipakmed_cervix", "histology_oral_oscc"),
)


@dataclass(frozen=True)
class Case:
    """What a model is fitted to, and where pool and scored images come from."""

    kind: str
    set: str
    other: str
    train: Subset
    tested: list[Subset]
    source: list[Subset]

    def seen_by(self, measure: Callable[[np.ndarray], np.ndarray]) -> Case:
        """Return the case with rows (n, d) of pool and scored images as a fitted model sees them, (n, ...)."""
        tested, source = (
            [Subset(measure(part.rows), part.patients) for part in parts] for parts in (self.tested, self.source)
        )
        return replace(self, tested=tested, source=source)

    def draws(self, share: float, n: int) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        """Give pools (m, ...) at the share, and the rows of test normals and abnormals of other patients."""
        for draw in range(n):
            rng = np.random.default_rng(draw)
            first, second = halves(rng, *self.tested)
            source = first if self.set == self.other else next(halves(rng, *self.source))
            yield np.concatenate(mixture(rng, source, share)), [part.rows for part in second]

    def labelled_draws(self, share: float, n: int, k: int) -> Iterator[tuple[Subset, np.ndarray, list[np.ndarray]]]:
        """Give k labelled abnormals too; neither pool nor scored images are of their patients."""
        for draw in range(n):
            rng = np.random.default_rng(draw)
            first, second = halves(rng, *self.tested)
            labels = first[1].where(np.random.default_rng(draw).permutation(len(first[1]))[:k])
            source = [part.where(~np.isin(part.patients, labels.patients)) for part in first]
            if self.set != self.other:
                source = next(halves(rng, *self.source))
            if all(map(len, source)):
                yield labels, np.concatenate(mixture(rng, source, share)), [part.rows for part in second]


def whitening(scorer: InductiveScorer) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives embeddings (n, d) as white rows (n, d), whose lengths are their scores."""
    whole = scorer.gaussian.whitening_of_all
    return lambda rows: (scorer.measured(rows) - scorer.gaussian.mean) @ whole


def cases(sets: Sets) -> Iterator[Case]:
    """Give the cases of all sets; those of one set follow each other."""
    for name, (train, *tested) in sets.items():
        yield Case("own", name, name, train, tested, tested)
        for side in parts_of(train):
            yield Case("part", name, name, side, tested, tested)
        for modality in MODALITIES:
            for other in modality if name in modality else ():
                if other != name and other in sets:
                    yield Case("other set", name, other, train, tested, sets[other][1:])


def parts_of(train: Subset) -> Iterator[Subset]:
    """Part training normals by the first principal axis, whole patients together."""
    rows = (train.rows - train.rows.mean(axis=0)) / np.maximum(train.rows.std(axis=0), 1e-9)
    along = np.linalg.svd(rows, full_matrices=False)[0][:, 0]
    _, patients = np.unique(train.patients, return_inverse=True)
    places = np.bincount(patients, along) / np.bincount(patients)
    near = (places <= np.median(places))[patients]
    yield from (train.where(near), train.where(~near))
