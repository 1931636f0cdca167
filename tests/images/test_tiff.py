from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from msde.errors import ImageError
from msde.images import Part, find_images, read_pixels, samples, tiff

from .pictures import gray_ramp, slide_files

GLASS = np.full((1300, 1500, 3), 240, np.uint8)
GLASS[600:1150, 700:1400] = (180, 80, 140)


@pytest.fixture
def keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tiff, "SLIDE_SIDE", 1000)

    def write(*levels: np.ndarray, name: str = "slide.svs", **options: Any) -> Path:
        path = tmp_path / name
        shape = {"tile": (256, 256), "photometric": "rgb" if levels[0].ndim == 3 else "minisblack"} | options
        with tifffile.TiffWriter(path) as file:
            file.write(levels[0], subifds=len(levels) - 1, **shape)
            for level in levels[1:]:
                shape.pop("resolution", None)
                file.write(level, subfiletype=1, **shape)
        return path

    return write


def tiles(path: Path) -> dict[str, np.ndarray]:
    return {str(source.label): read_pixels(source) for source in find_images([path]) if isinstance(source, Part)}


@pytest.mark.slow
@pytest.mark.parametrize("compression", [None, "deflate", "lzw"])
@pytest.mark.parametrize("layout", ["tiles", "strips"])
def test_tiles_with_tissue_are_those_of_the_picture(
    keep, monkeypatch: pytest.MonkeyPatch, compression: str | None, layout: str
) -> None:
    monkeypatch.setattr(tiff, "MAX_PIXELS", 1_000_000)  # which a picture in strips has to be over
    options = {"tile": None, "rowsperstrip": 100} if layout == "strips" else {}
    path = keep(GLASS, compression=compression, **options)
    monkeypatch.setattr(samples, "MAX_PIXELS", 100_000_000)
    read = tiles(path)
    assert sorted(read) == [f"x{x:06}y{y:06}" for x in (512, 988) for y in (512, 788)]
    for label, pixels in read.items():
        x, y = int(label[1:7]), int(label[8:])
        np.testing.assert_array_equal(pixels, read_pixels(GLASS[y : y + 512, x : x + 512]))


def test_tiles_at_the_border_end_with_it(keep) -> None:
    coloured = GLASS.copy()
    coloured[...] = (200, 60, 60)
    coloured[-1, -1] = 0
    read = tiles(keep(coloured))
    assert len(read) == 9
    assert {pixels.shape for pixels in read.values()} == {(512, 512, 3)}
    assert read["x000988y000788"][-1, -1].max() == 0


def test_a_side_shorter_than_a_tile_is_one_tile(keep) -> None:
    read = tiles(keep(np.tile(GLASS[700:800, 700:1200], (1, 3, 1))))
    assert {pixels.shape for pixels in read.values()} == {(100, 512, 3)}
    assert len(read) == 3


def test_the_level_nearest_to_a_micrometre_is_taken(keep) -> None:
    levels = [GLASS, GLASS[::2, ::2], GLASS[::4, ::4]]
    for per_centimetre, expected in ((40_000, 1), (20_000, 4), (10_000, 9)):
        coloured = [np.full_like(level, (200, 60, 60)) for level in levels]
        path = keep(*coloured, resolution=(per_centimetre,) * 2, resolutionunit=3, name=f"{per_centimetre}.svs")
        assert len(find_images([path])) == {1: 1, 4: 4, 9: 9}[expected]
    stated = keep(*[np.full_like(x, (200, 60, 60)) for x in levels], description="Aperio |MPP = 0.25|", name="d.svs")
    assert len(find_images([stated])) == 1


@pytest.mark.slow
def test_a_slide_without_tissue_says_so(keep) -> None:
    rng = np.random.default_rng(0)
    glass = np.clip(240 + rng.normal(0, 3, (1300, 1500, 1)) + rng.normal(0, 1, (1300, 1500, 3)), 0, 255)
    path = keep(glass.astype(np.uint8))
    assert find_images([path]) == [path]
    with pytest.raises(
        ImageError, match=r"slide\.svs: shows no tissue, no tile has colour in 25% of it; check the slide$"
    ):
        read_pixels(path)


def test_gray_pictures_have_all_their_tiles(keep) -> None:
    gray = np.tile(gray_ramp(130, 150), (10, 10)).astype(np.uint16) * 257
    read = tiles(keep(gray))
    assert len(read) == 9
    np.testing.assert_array_equal(read["x000512y000000"], read_pixels(gray[:512, 512:1024]))


def test_a_slide_needs_the_name_of_a_tile_and_one_that_it_has(keep) -> None:
    path = keep(GLASS)
    with pytest.raises(ImageError, match=r"holds 4 tiles with tissue; name one, such as .*slide\.svs#x000512y000512$"):
        read_pixels(path)
    for label in ("x000001y000000", "x999999y000000"):
        with pytest.raises(ImageError, match="there is no tile at this place; list the tiles with find_images"):
            read_pixels(f"{path}#{label}")


def test_a_small_tiled_picture_is_one_picture(keep) -> None:
    path = keep(GLASS[:900, :900])
    assert find_images([path]) == [path]
    assert read_pixels(path).shape == (900, 900, 3)


@pytest.mark.parametrize(
    ("levels", "options"),
    [
        (GLASS.astype(np.float32), {}),
        (GLASS.transpose(2, 0, 1).astype(np.float32), {"planarconfig": "separate"}),
    ],
)
def test_other_layouts_are_refused(keep, levels: np.ndarray, options: dict[str, Any]) -> None:
    path = keep(levels, photometric="rgb", **options)
    with pytest.raises(ImageError, match=r"slide\.svs: is a slide in an unusual layout; save it with 8 or 16 bits"):
        read_pixels(path)


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_truncated_slides_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    monkeypatch.setattr(tiff, "SLIDE_SIDE", 100)
    monkeypatch.setattr(tiff, "TILE", 64)
    data = slide_files()["plain.svs"]
    path = tmp_path / "cut.svs"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImageError, match=r"cut\.svs: damaged or truncated TIFF image"):
        read_pixels(path)


def test_a_missing_library_is_named_with_its_extra(keep, monkeypatch: pytest.MonkeyPatch) -> None:
    path = keep(GLASS)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(
        ImageError, match=r"reading a slide needs a further library; run `pip install 'msde\[slides\]'`$"
    ):
        read_pixels(path)


def test_a_stack_of_pages_is_no_slide(keep, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for k in range(3):
            file.write(np.roll(gray_ramp(), k, axis=0), photometric="minisblack")
    path = tmp_path / "stack.tif"
    path.write_bytes(buffer.getvalue())
    sources = find_images([path])
    assert [str(source) for source in sources] == [f"{path}#{k:03}" for k in range(3)]
    np.testing.assert_array_equal(read_pixels(sources[2]), read_pixels(np.roll(gray_ramp(), 2, axis=0)))
