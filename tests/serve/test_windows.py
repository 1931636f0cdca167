"""Windows to choose from."""

import numpy as np

from msde.images.measures import Measures
from msde.serve.pictures import Shades
from msde.serve.windows import windows_of


def names(low: float, high: float, window: tuple[float, float], measures: Measures) -> list[str]:
    values = np.linspace(low, high, 100).reshape(10, 10)
    found = windows_of(Shades(values, low, high, window, 16, False), measures)
    assert all(one.low < one.high for one in found)
    assert len({one[1:] for one in found}) == len(found)
    return [one.name for one in found]


def test_the_first_is_the_models_named_after_the_file_where_it_is_the_files():
    stated = Measures(windows=((0, 80), (-450, 1050)))
    assert names(0, 100, (0, 79), stated)[:2] == ["File's window", "File's window 2"]
    assert names(0, 100, (5, 60), stated)[:3] == ["Model's window", "File's window 1", "File's window 2"]


def test_windows_of_ct_are_offered_for_hounsfield_units_and_what_looks_like_them():
    assert "CT lung" in names(-1000, 2000, (0, 80), Measures(unit="HU", modality="CT"))
    assert "CT lung" in names(-1000, 2000, (0, 80), Measures())  # as NIfTI, which names no unit
    assert "CT lung" not in names(0, 2000, (0, 80), Measures())
    assert "CT lung" not in names(-1000, 2000, (0, 80), Measures(modality="MR"))


def test_a_picture_of_one_value_has_the_models_window_alone():
    shades = Shades(np.full((8, 8), 7), 7, 7, (0, 255), 8, False)
    assert [one.name for one in windows_of(shades, Measures())] == ["Model's window"]
