"""Whom a benchmark's run has to cite: works by detector, set, network and statistic, and their BibTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files

OF_DETECTORS = {
    "msde": ("kar2026medical", "kar2026msde", "ledoit2004well", "bates2023testing"),
    "msde-published": ("kar2026medical",),
    "msde-transductive": ("kar2026medical", "kar2026msde"),
    "msde-adaptive": ("kar2026medical", "ledoit2004well"),
    "msde-labelled": ("kar2026medical", "ledoit2004well"),
    "gde": ("cai2025medianomaly",),
    "ledoit-wolf": ("ledoit2004well",),
    "per-level": ("rippel2021modeling",),
    "displacement": ("kar2026msde",),
    "displacement-frozen": ("kar2026msde",),
    "knn": ("ramaswamy2000efficient", "zhao2019pyod"),
    "ecod": ("li2023ecod", "zhao2019pyod"),
    "copod": ("li2020copod", "zhao2019pyod"),
    "lof": ("breunig2000lof", "pedregosa2011scikit"),
    "ocsvm": ("scholkopf2001estimating", "pedregosa2011scikit"),
    "isolation-forest": ("liu2008isolation", "pedregosa2011scikit"),
    "padim": ("defard2021padim",),
    "patchcore": ("roth2022towards",),
    "logistic-regression": ("pedregosa2011scikit",),
    "shrunk-lda": ("ledoit2004well", "pedregosa2011scikit"),
    "pyod:": ("zhao2019pyod",),
    "anomalib:": ("akcay2022anomalib",),
}
OF_SETS = {
    "RSNA": ("shih2019augmenting", "cai2025medianomaly"),
    "VinCXR": ("nguyen2022vindr", "cai2025medianomaly"),
    "BrainTumor": ("nickparvar2021brain", "cai2025medianomaly"),
    "LAG": ("li2019attention", "cai2025medianomaly"),
    "ISIC2018_Task3": ("codella2019skin", "tschandl2018ham10000", "cai2025medianomaly"),
    "Camelyon16": ("bejnordi2017diagnostic", "cai2025medianomaly"),
    "BraTS2021": ("baid2021rsna", "cai2025medianomaly"),
}
OF_NETWORKS = {"efficientnet": "tan2019efficientnet", "resnet": "he2016deep", "timm:": "wightman2019timm"}


def of_detector(name: str) -> tuple[str, ...]:
    """Return the keys of the works behind a detector; none for those of this package alone."""
    scheme, colon, _ = name.partition(":")
    return OF_DETECTORS.get(scheme + colon, ())


def of_networks(names: Iterable[str]) -> list[str]:
    """Return the keys of the works behind networks, by their names."""
    return list(dict.fromkeys(key for name in names for part, key in OF_NETWORKS.items() if part in name))


def bibliography() -> dict[str, str]:
    """Return the BibTeX entries by key."""
    text = files("msde.benchmark").joinpath("references.bib").read_text("utf-8")
    return {found[1]: found[0] for found in re.finditer(r"^@\w+\{(\w+),.*\}$", text, re.MULTILINE)}
