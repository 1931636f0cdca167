"""What a browser is given: pictures by the model's rule or a window, samples, overlays."""

import io

import numpy as np
import pytest
from PIL import Image
from tests.serve.conftest import png, running


def deep(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(file, "PNG")
    return file.getvalue()


def pixels(answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)))


@pytest.fixture(scope="module")
def ramp(disc_model, tmp_path_factory):
    """A 16-bit image of values 1000 to 1000 + 63 * 64."""
    with running(tmp_path_factory.mktemp("ramp"), disc_model) as served:
        number = served.send(deep(1000 + np.arange(64 * 64).reshape(64, 64)))
        served.wait()
        yield served, f"/api/images/{number}"


def test_a_window_spreads_its_values_over_all_grays(ramp):
    served, path = ramp
    plain = pixels(served.client.get(f"{path}/picture"))
    assert np.ptp(plain) < 20  # of 16 bits
    spread = pixels(served.client.get(f"{path}/picture?low=1000&high=5095"))
    assert (spread.min(), spread.max()) == (0, 255)
    assert np.all(np.diff(spread.ravel().astype(int)) >= 0)


def test_the_range_of_the_values_is_told(ramp):
    served, path = ramp
    shown = served.get(path)
    windows = shown["range"].pop("windows")
    assert shown["range"] == {"low": 1000, "high": 5095, "window": [0, 65535], "unit_bits": 16, "unit": ""}
    assert [(one["low"], one["high"]) for one in (windows[0], windows[-1])] == [(0, 65535), (1000, 5095)]
    assert shown["spacing"] is None
    assert (shown["width"], shown["height"]) == (64, 64)


def test_samples_are_the_values(ramp):
    served, path = ramp
    answer = served.client.get(f"{path}/samples")
    numbers = np.frombuffer(answer.content, "<u2").reshape(64, 64)
    low, high = (float(answer.headers[name]) for name in ("x-low", "x-high"))
    values = low + numbers / 65535 * (high - low)
    assert np.allclose(values, 1000 + np.arange(64 * 64).reshape(64, 64), atol=(high - low) / 65535)


@pytest.mark.parametrize("query", ["low=1", "low=2&high=1", "low=nan&high=1", "side=3", "side=9999", "part=-1"])
def test_a_senseless_window_or_size_is_refused(ramp, query):
    served, path = ramp
    assert served.client.get(f"{path}/picture?{query}").status_code in (400, 422)


def test_a_picture_is_reduced_and_never_enlarged(ramp):
    served, path = ramp
    assert pixels(served.client.get(f"{path}/picture?side=16")).shape == (16, 16)
    assert pixels(served.client.get(f"{path}/picture?side=2000")).shape == (64, 64)


@pytest.mark.slow
def test_colour_has_a_picture_but_no_samples(serve, rng):
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, "PNG")
    with serve() as served:
        number = served.send(file.getvalue())
        assert pixels(served.client.get(f"/api/images/{number}/picture")).shape == (64, 64, 3)
        assert served.get(f"/api/images/{number}")["range"] is None
        served.get(f"/api/images/{number}/samples", 404)


def test_what_cannot_be_read_has_no_picture_and_says_so(serve):
    with serve() as served:
        number = served.send(png(1)[:150])
        served.wait()
        assert "damaged" in served.get(f"/api/images/{number}/picture", 422)["detail"]
        assert served.get(f"/api/images/{number}")["range"] is None
        served.get("/api/images/999/picture", 404)


@pytest.mark.slow
def test_an_overlay_is_drawn_where_the_model_can_tell(serve, explaining, tmp_path):
    explaining.save(tmp_path / "heat.msde")
    with serve(models=(str(tmp_path / "heat.msde"),)) as served:
        number = served.send(png(1, lesion=True))
        served.wait()
        path = f"/api/images/{number}/overlay"
        with Image.open(io.BytesIO(png(1, lesion=True))) as picture:
            expected = explaining.explain(picture)
        assert np.array_equal(pixels(served.client.get(path)), expected.overlay)
        assert np.array_equal(pixels(served.client.get(f"{path}?alone=true")), expected.layer)


@pytest.mark.slow
def test_a_model_without_heat_maps_has_no_overlay(serve):
    with serve() as served:
        number = served.send(png(1))
        served.wait()
        served.get(f"/api/images/{number}/overlay", 404)


def test_a_broken_table_in_a_header_is_a_line_and_never_an_error_of_the_service(serve):
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence
    from tests.images.medical import dicom_bytes

    table = Dataset()
    table.LUTDescriptor = [256, 0, 8]  # and no data
    with serve() as served:
        broken = dicom_bytes(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64), VOILUTSequence=Sequence([table]))
        answer = served.client.post("/api/score?name=scan.dcm", content=broken)
        assert answer.status_code == 200
        assert "damaged or truncated DICOM image" in answer.text
        number = served.send(broken, "scan.dcm")
        row = served.wait()[0]
        assert row["state"] == "failed"
        assert "damaged or truncated DICOM image" in row["error"]
        shown = served.get(f"/api/images/{number}")
        assert shown["range"]["window"] == [0, 4095]
        for what in ("picture", "overlay", "samples"):
            assert served.client.get(f"/api/images/{number}/{what}").status_code < 500
        assert pixels(served.client.get(f"/api/images/{number}/picture?low=0&high=4095")).max() == 255
