"""How many images show any colour in their heat maps, as a Markdown table.

Run: python benchmarks/calm_heat.py SET... [--shared SHARED]     (by default $MSDE_SHARED or ../shared)

The default is fitted on a set's training normals, held out by patient as far as file names tell them. "At 1 in 100" is
the share of test images with a place as odd as one in a hundred of the area of held-out normals, where colour began
before format 5 of the model file. "Calm" is the share with colour as it begins now: half of the 5 % of normal images
that may show any are those with the lowest p-values, and half those with the hottest places. "By heat alone" is what
all 5 % by the hottest place would show.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from embeddings import PARTS, PLANS, SHARED, patients
from table import print_header

from msde import AnomalyModel
from msde.heatmaps.colours import LEAST_SHOWN
from msde.images import find_images

COLUMNS = (
    "held out",
    "colour begins at heat",
    *(
        f"{kind} with colour, {when}"
        for when in ("at 1 in 100", "by heat alone", "calm")
        for kind in ("normals", "abnormals")
    ),
)


def shown(model: AnomalyModel, folder: Path) -> list[float]:
    """Return the share of images with colour by each rule."""
    scores = list(model.score_embedded(model.embed(folder, model.fitted.heat_maps())))
    peaks = np.array([score.heat.max() for score in scores if score.heat is not None])
    calm, scale = model.colours, model.fitted.heat_maps()
    onsets = np.array([calm.begins(score.p_value) for score in scores if score.heat is not None])
    return [
        (peaks > onset).mean() for onset in (LEAST_SHOWN, max(scale.scale.peak(scale.calm)[0], LEAST_SHOWN), onsets)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="SET")
    parser.add_argument("--shared", type=Path, default=SHARED)
    arguments = parser.parse_args()
    print_header("set", COLUMNS)
    for name in arguments.sets:
        folder, plan = arguments.shared / "data" / name, PLANS[name]
        train = find_images([folder / PARTS[0]])
        groups = list(patients(plan, map(str, train))) if plan.patient else None
        model = AnomalyModel().fit(train, groups=groups)
        scale = model.fitted.heat_maps().scale.peaks
        by_rule = zip(*(shown(model, folder / part) for part in PARTS[1:]), strict=True)
        shares = [f"{share:.1%}" for rule in by_rule for share in rule]
        held_out = 0 if scale is None else len(scale)
        print(f"| {name} | {held_out} | {model.colours.onset:.2f} | {' | '.join(shares)} |", flush=True)


main()
