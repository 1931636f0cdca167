"""What a region's values are: those of the file, within an ellipse, at full depth."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.images.medical import dicom_bytes

from msde.errors import ImageError
from msde.serve.errors import NotFound, ServiceError
from msde.serve.region import measured


def inside(shape: tuple[int, int], left: float, top: float, right: float, bottom: float) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    across, down = (2 * x - left - right) / (right - left), (2 * y - top - bottom) / (bottom - top)
    return across**2 + down**2 <= 1


@pytest.mark.parametrize("box", [(10, 5, 30, 25), (-4.5, 3.25, 12, 9), (0, 0, 48, 32), (20, 20, 21, 21)])
def test_mean_and_deviation_are_those_of_the_ellipse(tmp_path, rng, box):
    stored = rng.integers(0, 3000, (32, 48)).astype(np.uint16)
    path = tmp_path / "scan.dcm"
    path.write_bytes(dicom_bytes(stored, Modality="CT", RescaleSlope=2, RescaleIntercept=-1024))
    values = stored[inside(stored.shape, *box)] * 2.0 - 1024
    found = measured(path, *box)
    assert found.pixels == values.size
    assert (found.mean, found.sd) == pytest.approx((values.mean(), values.std()))
    assert (found.lowest, found.highest) == (values.min(), values.max())


def test_padding_is_no_part_of_it(tmp_path):
    stored = np.full((16, 16), 100, np.uint16)
    stored[:, :8] = 4095
    path = tmp_path / "scan.dcm"
    path.write_bytes(dicom_bytes(stored, PixelPaddingValue=4095))
    assert measured(path, 0, 0, 16, 16).mean == 100


def test_what_cannot_be_measured_is_said(tmp_path, rng):
    colour, gray = tmp_path / "colour.png", tmp_path / "gray.png"
    Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(colour)
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(gray)
    with pytest.raises(NotFound, match="colour"):
        measured(colour, 0, 0, 8, 8)
    with pytest.raises(ServiceError, match="draw it larger"):
        measured(gray, 20, 20, 30, 30)
    with pytest.raises(ImageError):
        measured(tmp_path / "none.png", 0, 0, 8, 8)


def test_the_service_measures_and_tells_spacing_unit_and_windows(standing, rng):
    stored = rng.integers(900, 1200, (64, 64)).astype(np.uint16)
    window = {"WindowCenter": [40, 300], "WindowWidth": [80, 1500]}
    facts: dict[str, Any] = {
        "Modality": "CT",
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "PixelSpacing": [0.5, 0.25],
        **window,
    }
    number = standing.send(dicom_bytes(stored, **facts), "head.dcm")
    case = standing.get(f"/api/images/{number}")
    assert case["spacing"] == {"rows": 0.5, "columns": 0.25, "at_detector": False}
    assert case["range"]["unit"] == "HU"
    assert case["range"]["windows"][0] == {"name": "File's window", "low": 0, "high": 80}
    assert {"name": "CT lung", "low": -1350, "high": 150} in case["range"]["windows"]
    found = standing.get(f"/api/images/{number}/region?left=8&top=8&right=40&bottom=24")
    values = stored[inside(stored.shape, 8, 8, 40, 24)] - 1024.0
    assert found["mean"] == pytest.approx(values.mean())
    standing.get(f"/api/images/{number}/region?left=8&top=8&right=8&bottom=24", 400)
    standing.get(f"/api/images/{number}/region?left=nan&top=8&right=9&bottom=24", 422)

    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(file, "PNG")
    number = standing.send(file.getvalue(), "colour.png")
    case = standing.get(f"/api/images/{number}")
    assert (case["width"], case["height"], case["range"], case["spacing"]) == (64, 48, None, None)
    standing.get(f"/api/images/{number}/region?left=0&top=0&right=9&bottom=24", 404)
