from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from msde.errors import ImageError
from msde.images import Part, find_images, read_pixels, tiff
from msde.images.pyramid import Pyramid, readable

GLASS = np.full((1300, 1500, 3), 240, np.uint8)
GLASS[600:1150, 700:1400] = (180, 80, 140)


@pytest.fixture
def keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tiff, "SLIDE_SIDE", 1000)

    def write(name: str, n_levels: int = 2) -> Path:
        path = tmp_path / name
        size: dict[str, Any] = {"tile": (256, 256), "photometric": "rgb", "metadata": None}
        with tifffile.TiffWriter(path) as file:
            file.write(GLASS, resolution=(20_000, 20_000), resolutionunit="CENTIMETER", **size)
            for k in range(1, n_levels):
                file.write(GLASS[:: 2**k, :: 2**k], subfiletype=1, **size)
        return path

    return write


def tiles(path: Path) -> dict[str, np.ndarray]:
    return {str(source.label): read_pixels(source) for source in find_images([path]) if isinstance(source, Part)}


def test_a_mirax_slide_is_read_by_tiles_of_its_tissue(keep) -> None:
    read = tiles(keep("slide.mrxs", 1))
    assert sorted(read) == [f"x{x:06}y{y:06}" for x in (512, 988) for y in (512, 788)]
    for label, pixels in read.items():
        x, y = int(label[1:7]), int(label[8:])
        np.testing.assert_array_equal(pixels, read_pixels(GLASS[y : y + 512, x : x + 512]))


def test_the_level_nearest_to_the_size_of_a_pixel_is_taken(keep) -> None:
    path = keep("slide.tif")
    for micrometres, step in ((0.5, 1), (1.0, 2)):
        pyramid = Pyramid(str(path), "slide.tif", micrometres, 8)
        assert pyramid.shape == (1300 // step, 1500 // step)
        np.testing.assert_array_equal(pyramid.region(300, 250, 64, 32), GLASS[::step, ::step][250:282, 300:364])


@pytest.mark.parametrize("level", [0, 1])
def test_the_blocks_of_a_level_are_all_of_it(keep, level: int) -> None:
    whole = np.zeros_like(GLASS[:: level + 1, :: level + 1])
    for left, top, block in Pyramid(str(keep("slide.tif")), "slide.tif", 1.0, 8).blocks(level, side=500):
        whole[top : top + block.shape[0], left : left + block.shape[1]] = block
    np.testing.assert_array_equal(whole, GLASS[:: level + 1, :: level + 1])


@pytest.mark.slow
def test_what_tifffile_cannot_cut_openslide_reads(keep, monkeypatch: pytest.MonkeyPatch) -> None:
    path = keep("slide.svs", 1)
    expected = tiles(path)
    tiff._tiles_with_tissue.forget()

    def unusual(slide: object) -> None:
        raise tiff._UnusualLayoutError(f"{path}: is stored in one piece; save it in tiles")

    monkeypatch.setattr(tiff._Slide, "_check", unusual)
    found = tiles(path)
    assert found.keys() == expected.keys()
    for label, pixels in found.items():
        np.testing.assert_array_equal(pixels, expected[label])
    monkeypatch.setitem(sys.modules, "openslide", None)
    assert not readable(str(path))
    with pytest.raises(ImageError, match="is stored in one piece; save it in tiles"):
        read_pixels(f"{path}#x000512y000512")


@pytest.mark.slow
def test_colours_in_planes_of_their_own_are_read(tmp_path: Path, keep) -> None:
    size: dict[str, Any] = {"tile": (256, 256), "photometric": "rgb", "planarconfig": "separate"}
    tifffile.imwrite(tmp_path / "planes.svs", GLASS.transpose(2, 0, 1), **size)
    np.testing.assert_array_equal(
        tiles(tmp_path / "planes.svs")["x000512y000512"], read_pixels(GLASS[512:1024, 512:1024])
    )


def test_what_is_no_slide_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "slide.mrxs"
    path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    with pytest.raises(ImageError, match=r"slide\.mrxs: is no slide that OpenSlide reads, or its folder of data is"):
        read_pixels(path)
    assert find_images([path]) == [path]
    other = tmp_path / "other.mrxs"
    other.write_bytes(path.read_bytes())
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(
        ImageError, match=r"reading this kind of slide needs a further library; run `pip install 'msde\["
    ):
        read_pixels(other)
