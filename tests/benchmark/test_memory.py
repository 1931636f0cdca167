import sys

import numpy as np
import pytest

from msde.benchmark.memory import forget_peak, peak_megabytes


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a peak that can be forgotten")
def test_a_peak_is_seen_and_forgotten():
    forget_peak()
    before = peak_megabytes()
    block = np.ones(25_000_000)
    assert peak_megabytes() > before + 150
    del block
    forget_peak()
    assert peak_megabytes() < before + 100
