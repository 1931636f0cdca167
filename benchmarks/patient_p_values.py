"""How often a normal patient is flagged by one p-value of all images, in simulation, as a Markdown table.

Run: python benchmarks/patient_p_values.py [--models 100]

Scores are normal with correlation rho within a patient. Each model is calibrated on 99 patients, whose numbers of
images are drawn from the first column, and 20 new patients with as many images as in the second are tested at .05 and
.10.
"Bonferroni" flags a patient whose lowest conformal p-value of an image, each image for itself, is at most the target
divided by the number of images.
"""

from __future__ import annotations

import argparse

import numpy as np
from table import print_header

from msde.method.calibration import Calibration
from msde.method.patient_score import PatientCalibration

PATIENTS, NEW = 99, 20
ALPHAS = (0.05, 0.10)
SIZES = {"1": (1,), "4": (4,), "8": (8,), "30": (30,), "2, 9 or 16": (2, 9, 16)}
TESTED = {"1": (1, 4), "4": (1, 4, 12), "8": (3, 8), "30": (30, 60), "2, 9 or 16": (2, 5, 16)}


def rates(rng: np.random.Generator, sizes: tuple[int, ...], size: int, rho: float, models: int) -> np.ndarray:
    """Return the flagged shares: patients at each alpha, then by Bonferroni."""

    def drawn(n: int) -> np.ndarray:
        return np.sqrt(rho) * rng.normal() + np.sqrt(1 - rho) * rng.normal(size=n)

    found = []
    for _ in range(models):
        of_patients = [drawn(rng.choice(sizes)) for _ in range(PATIENTS)]
        scores, groups = np.concatenate(of_patients), np.repeat(np.arange(PATIENTS), list(map(len, of_patients)))
        calibration, images = PatientCalibration(scores, groups, min(ALPHAS), ""), Calibration.of(scores, 0.05, "")
        for _ in range(NEW):
            new = drawn(size)
            p_value, lowest = calibration.p_value(new), images.p_values(new).min()
            found.append([*(p_value <= alpha + 1e-9 for alpha in ALPHAS), *(lowest <= a / size for a in ALPHAS)])
    return np.mean(found, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=100)
    models, rng = parser.parse_args().models, np.random.default_rng(0)
    columns = [f"{kind} at {alpha:g}" for kind in ("flagged", "Bonferroni") for alpha in ALPHAS]
    print_header("images of a patient", ("of a new one", "rho", *columns))
    for name, sizes in SIZES.items():
        for size in TESTED[name]:
            for rho in (0.0, 0.4, 0.8):
                cells = (f"{rate:.3f}" for rate in rates(rng, sizes, size, rho, models))
                print(f"| {name} | {size} | {rho} | {' | '.join(cells)} |", flush=True)


main()
