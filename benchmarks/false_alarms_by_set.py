"""False alarms of the default on each set of shared/data, by patients, as a Markdown table.

Run: python benchmarks/false_alarms_by_set.py CACHE_FOLDER

Training normals are held out by patient, as far as file names tell them (benchmarks/shared.toml), and where they do not
in runs of neighbours; "flagged" is the share of the test normals above the threshold at a target of .01, .05 and .10,
"by file order" the same at .05 were nothing told of patients. "Range" is where the rate of one model at .05 lies
with 90 % probability, were the test normals of the same source. "Patients" is the share of test patients that is
flagged at .05 by all of their images together. Where flagged normals are far above the range, the test normals are of
other videos, patients or devices than those of the fit (docs/sets.md): calibrating on training normals cannot mend it.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

# The matrices here are small: threads would wait for each other. NumPy reads this as it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import PLANS, load_sets
from table import print_header

from msde import MSDEDetector
from msde.benchmark.draws import Subset
from msde.method.metrics import auroc
from msde.method.patient_score import PatientCalibration

ALPHAS = (0.01, 0.05, 0.10)
COLUMNS = (
    "normals: train (patients) / test (patients)",
    "AUROC",
    *(f"flagged at {alpha:g}" for alpha in ALPHAS),
    "range at 0.05",
    "by file order, at 0.05",
    "abnormals flagged at 0.05",
    "patients flagged at 0.05",
)


def by_patient(scores: np.ndarray, patients: np.ndarray, calibration: PatientCalibration) -> float:
    p_values = [calibration.p_value(scores[patients == patient]) for patient in np.unique(patients)]
    return float(np.mean([calibration.flagged(p_value) for p_value in p_values]))


def cells(train: Subset, normal: Subset, abnormal: Subset, known: bool) -> list[str]:
    numbers = np.unique(train.patients, return_inverse=True)[1]
    detector = MSDEDetector().fit(train.rows, groups=numbers if known else None)
    calibration, scores = detector.calibration_, detector.anomaly_score(normal.rows)
    in_order = calibration if not known else MSDEDetector().fit(train.rows).calibration_
    low, high = calibration.far_range()
    of_abnormals = detector.anomaly_score(abnormal.rows)
    patients = "–"
    if known:
        held_out = PatientCalibration(detector.cross_fitted_scores(), numbers, 0.05, "")
        patients = f"{by_patient(scores, normal.patients, held_out):.1%}"
    n_train, n_test = (len(np.unique(part.patients)) if known else "unknown" for part in (train, normal))
    return [
        f"{len(train)} ({n_train}) / {len(normal)} ({n_test})",
        f"{auroc(scores, of_abnormals):.3f}",
        *(f"{replace(calibration, alpha=alpha).flagged(scores).mean():.1%}" for alpha in ALPHAS),
        f"{low:.1%} to {high:.1%}",
        f"{in_order.flagged(scores).mean():.1%}",
        f"{calibration.flagged(of_abnormals).mean():.1%}",
        patients,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    sets = load_sets(parser.parse_args().cache)
    print_header("set", COLUMNS)
    for name, (train, normal, abnormal) in sets.items():
        row = [name, *cells(train, normal, abnormal, PLANS[name].patient is not None)]
        print(f"| {' | '.join(row)} |", flush=True)


main()
