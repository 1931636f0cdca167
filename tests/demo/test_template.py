from __future__ import annotations

import subprocess
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from msde.demo import template as module
from msde.demo.template import load_template
from msde.errors import DataError


def test_is_a_brain_in_millimetres(template: NDArray[np.float32]) -> None:
    assert template.shape == (197, 233, 189)
    assert template.dtype == np.float32
    assert template.min() == 0
    assert template.max() <= 1
    assert 1.4e6 < np.count_nonzero(template) < 2.2e6  # a brain has 1.4 to 2.2 litres with its fluid


def test_is_symmetric_and_stands_upright(template: NDArray[np.float32]) -> None:
    mirrored = template[::-1]
    assert np.abs(template - mirrored).mean() < 0.01
    # The brain is longest a little above its base, and narrow at the crown.
    area = np.count_nonzero(template, axis=(0, 1))
    assert area[75] > 1.5 * area[130] > 3 * area[145]


@pytest.mark.slow
def test_imports_no_nilearn_and_needs_no_network() -> None:
    code = (
        "import socket, sys\n"
        "def refused(*_): raise AssertionError('network')\n"
        "socket.socket.connect = refused\n"
        "from msde.demo.template import load_template\n"
        "load_template()\n"
        "print(sorted({'nilearn', 'sklearn', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("missing", ["nilearn", "nibabel"])
def test_a_missing_package_is_named_with_its_remedy(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = find_spec
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == missing else real(name))
    with pytest.raises(DataError, match=rf"{missing}.*; pip install 'msde\[demo\]'$"):
        load_template()


def test_a_nilearn_without_the_template_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModuleSpec("nilearn", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(module, "find_spec", lambda _: spec)
    with pytest.raises(DataError, match="carries no such template; pip install"):
        load_template()
