import subprocess
import sys

import msde

NAMES = ["AnomalyModel", "GaussianDensity", "MSDEDetector", "MeanShiftEnhancer"]


def test_the_public_names_are_these_and_sorted():
    assert msde.__all__ == NAMES
    assert set(NAMES) <= set(dir(msde))
    for name in NAMES:
        assert getattr(msde, name).__name__ == name


def test_importing_the_package_is_cheap():
    heavy = "torch timm sklearn scipy onnxruntime PIL pandas matplotlib umap"
    code = f"import sys, msde; print(*(m for m in {heavy.split()} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
