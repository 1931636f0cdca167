import shutil
import subprocess
import sys

import numpy as np
import pytest

from msde.benchmark.config import BackbonePlan, SetPlan
from msde.benchmark.data import Order, load, prepare
from msde.images.patients import GroupTable


@pytest.fixture
def order(sets, tmp_path):
    """How to prepare the small set as small pictures, its abnormal images in the folders `spot` and `other`."""
    folder = shutil.copytree(sets / "here", tmp_path / "data" / "here")
    for number, path in enumerate(sorted((folder / "test/abnormal").iterdir())):
        kind = folder / "test/abnormal" / ("spot" if number < 6 else "other")
        kind.mkdir(exist_ok=True)
        path.rename(kind / path.name)

    def make(kind=None, kinds=None):
        plan = SetPlan("here", "here", "disc", None, (), {}, kind)
        backbone = BackbonePlan("efficientnet_lite0", ("efficientnet_lite0",), ("plain:mean",))
        return Order(plan, backbone, "pixels", tmp_path / "data", tmp_path / "rows", kinds=kinds)

    return make


def kinds_of(order):
    prepared = prepare(order)
    split, _ = load(prepared.path)
    assert split.kinds is not None
    assert prepared.kinds == tuple(sorted({*split.kinds.tolist()} - {""}))
    assert len(split.kinds) == len(split.abnormal)
    return dict(zip(*np.unique(split.kinds, return_counts=True), strict=True))


def test_folders_tell_the_kind(order):
    assert kinds_of(order()) == {"spot": 6, "other": 10}


def test_a_pattern_tells_it_before_folders(order):
    assert kinds_of(order(kind=r"01(?=\d)")) == {"": 10, "01": 6}


@pytest.mark.slow
def test_a_table_tells_it_before_both(order, tmp_path):
    spots = tmp_path / "data/here/test/abnormal/spot"
    table = GroupTable.of("kinds", {str(spots): "round", str(spots / "000.png"): "square"})
    assert kinds_of(order(kinds=table)) == {"other": 10, "round": 5, "square": 1}


def test_other_kinds_are_other_rows(order):
    assert prepare(order()).digest != prepare(order(kind=r"01(?=\d)")).digest


def test_processes_that_only_embed_do_not_wait_for_scikit_learn():
    code = "import sys, msde.benchmark.experiment; print('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
