from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.requirements import THOROUGH

from msde.errors import ImageError
from msde.images import read_pixels

from .pictures import gray_ramp, rgb_ramp, small_files

FILES = small_files()


@pytest.mark.parametrize("picture", [gray_ramp(), rgb_ramp()], ids=["gray", "rgb"])
def test_path_text_pillow_image_and_array_give_the_same_pixels(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "scan.png"
    Image.fromarray(picture).save(path)
    expected = read_pixels(picture)
    assert expected.dtype == np.float32
    assert expected.shape == picture.shape
    with Image.open(path) as image:
        for source in (path, str(path), image, picture / 255):
            np.testing.assert_array_equal(read_pixels(source), expected)


def test_sixteen_bits_keep_their_resolution(tmp_path: Path) -> None:
    picture = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    for name in ("scan.png", "scan.tif", "scan.jp2"):
        Image.fromarray(picture).save(tmp_path / name)
        np.testing.assert_array_equal(read_pixels(tmp_path / name), read_pixels(picture))
    assert len(np.unique(read_pixels(picture))) == 4096


@pytest.mark.parametrize("source", [None, 3, b"scan.png", [[0, 1]], {"a": 1}])
def test_other_objects_are_refused(source: Any) -> None:
    with pytest.raises(ImageError, match="is no image; give a path, a Pillow image or a NumPy array$"):
        read_pixels(source)


def test_errors_name_file_array_or_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="^array of shape \\(1, 1\\): "):
        read_pixels(np.zeros((1, 1)))
    with pytest.raises(ImageError, match="^L image: "):
        read_pixels(Image.new("L", (1, 1)))
    Image.new("L", (1, 1)).save(tmp_path / "one.png")
    with pytest.raises(ImageError, match=r"one\.png: 1 x 1 px"), Image.open(tmp_path / "one.png") as image:
        read_pixels(image)


def test_a_name_with_a_line_feed_stays_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "two\nlines\udcff.png"
    path.write_bytes(b"")
    with pytest.raises(ImageError, match=r"two\\nlines\\udcff\.png: is empty") as error:
        read_pixels(path)
    assert str(error.value).isprintable()


def mutated(data: bytes, changes: list[tuple[str, float, int]]) -> bytes:
    """Apply changes, each at a share of the length: set a byte, cut the end, drop, repeat or insert some bytes."""
    for kind, share, value in changes:
        at = int(share * len(data))
        data = {
            "set": data[:at] + bytes([value]) + data[at + 1 :],
            "cut": data[:at],
            "drop": data[:at] + data[at + 1 + value % 16 :],
            "twice": data[: at + value] + data[at:],
            "zeros": data[:at] + bytes(value % 16) + data[at + value % 16 :],
            "ones": data[:at] + b"\xff" * (value % 8) + data[at + value % 8 :],
        }[kind]
    return data


changes = st.lists(
    st.tuples(
        st.sampled_from(["set", "set", "cut", "drop", "twice", "zeros", "ones"]),
        st.one_of(st.floats(0, 0.15), st.floats(0, 0.999)),  # headers are where decoders go wrong
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=6,
)


def read_mutated(folder: Path, name: str, how: list[tuple[str, float, int]]) -> None:
    path = folder / name
    path.write_bytes(mutated(FILES[name], how))
    try:
        pixels = read_pixels(path)
    except ImageError as error:
        assert str(error).startswith(f"{path}: ")
        assert ";" in str(error)
        assert str(error).isprintable()
    else:
        assert pixels.dtype == np.float32
        assert pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
        assert pixels.min() >= 0
        assert pixels.max() <= 1


FUZZ = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_mutated_files_are_read_or_refused(tmp_path: Path, name: str) -> None:
    @settings(max_examples=300 if THOROUGH else 100, **FUZZ)  # type: ignore[arg-type]
    @given(changes)
    def check(how: list[tuple[str, float, int]]) -> None:
        read_mutated(tmp_path, name, how)

    check()


def test_importing_is_cheap() -> None:
    code = "import sys, msde.images; print(sorted({'PIL', 'scipy', 'sklearn', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
