"""TIFF by tifffile: every kind of samples and compression gives the picture that was saved, or is named."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from msde.errors import ImageError
from msde.images import ImageRule, Part, find_images, read_pixels, tiff

from .pictures import encoded, gray_ramp, rgb_ramp
from .test_dicom_frame import ybr

GRAY, COLOUR = gray_ramp(40, 32), rgb_ramp(40, 32)


@pytest.fixture
def write(tmp_path: Path):
    def written(values: np.ndarray, name: str = "scan.tif", **options: Any) -> Path:
        path, (bytes_, big) = tmp_path / name, options.pop("form", ("<", False))
        colour = values.ndim == 3 and 3 in (values.shape[0], values.shape[2])
        photometric = "rgb" if colour else "minisblack"
        tifffile.imwrite(
            path, values, byteorder=bytes_, bigtiff=big, **{"photometric": photometric, "metadata": None} | options
        )
        return path

    return written


KINDS = {
    "u1": GRAY,
    "u2": GRAY.astype(np.uint16) * 257,
    "f2": (GRAY / 255).astype(np.float16),
    "f4": (GRAY / 255).astype(np.float32),
    "f8": GRAY / 255,
    "rgb-u1": COLOUR,
    "rgb-u2": COLOUR.astype(np.uint16) * 257,
    "rgb-f4": (COLOUR / 255).astype(np.float32),
}


@pytest.mark.parametrize("form", [("<", False), (">", False), ("<", True), (">", True)], ids=str)
@pytest.mark.parametrize("compression", [None, "deflate", "lzw", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_type_is_the_same_picture(write, kind: str, compression: str | None, form: Any) -> None:
    path = write(KINDS[kind], compression=compression, form=form)
    picture = COLOUR if kind.startswith("rgb") else GRAY
    np.testing.assert_allclose(read_pixels(path), picture / 255, atol=3e-4 if kind == "f2" else 1e-6)


@pytest.mark.parametrize("compression", [None, "deflate", "lzw"])
@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 7}, {"tile": (16, 16)}], ids=["one", "strips", "tiles"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_colours_in_planes_are_those_side_by_side(write, dtype: Any, layout: dict[str, Any], compression: Any) -> None:
    values = (
        (COLOUR / 255).astype(dtype) if dtype is np.float32 else COLOUR.astype(dtype) * (np.iinfo(dtype).max // 255)
    )
    planes = np.ascontiguousarray(values.transpose(2, 0, 1))
    path = write(planes, planarconfig="separate", compression=compression, **layout)
    np.testing.assert_array_equal(read_pixels(path), read_pixels(values))


@pytest.mark.parametrize(
    ("compression", "kinds", "near"),
    [
        ("jpeg2000", ["u1", "u2", "rgb-u1", "rgb-u2"], 1e-6),
        ("jpegxl", ["u1", "u2", "rgb-u1", "rgb-u2", "f4"], 1e-6),
        ("lerc", ["u1", "u2", "f4", "f8"], 1e-6),
        ("webp", ["rgb-u1"], 1e-6),
        ("png", ["u1", "u2", "rgb-u1"], 1e-6),
        ("jpeg", ["u1"], 0.05),
    ],
)
def test_newer_compressions_are_read(write, compression: str, kinds: list[str], near: float) -> None:
    arguments = {
        "webp": {"lossless": True},
        "jpegxl": {"lossless": True},
        "jpeg2000": {"level": 0},
        "jpeg": {"level": 98},
    }
    for kind in kinds:
        path = write(KINDS[kind], compression=compression, compressionargs=arguments.get(compression, {}))
        np.testing.assert_allclose(read_pixels(path), (COLOUR if "rgb" in kind else GRAY) / 255, atol=near)


def renumbered(path: Path, *numbers: int, tag: int = 259) -> Path:
    """Write other numbers over those of a tag, by default the compression; one for all pages or one each."""
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for k, page in enumerate(file.pages):
            struct.pack_into("<H", data, page.tags[tag].valueoffset, numbers[k % len(numbers)])
    path.write_bytes(data)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("number", [33003, 33005, 34712])
def test_jpeg_2000_slides_have_their_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(tiff, "SLIDE_SIDE", 1000)
    glass = np.full((1024, 1100, 3), 240, np.uint8)
    glass[200:900, 200:1000] = (180, 80, 140)
    stored = ybr(glass, 8) if number == 33003 else glass
    path = tmp_path / "slide.svs"
    options: dict[str, Any] = {"compressionargs": {"level": 0, "mct": False}} if number == 33003 else {}
    tifffile.imwrite(path, stored, photometric="rgb", tile=(256, 256), compression="jpeg2000", **options)
    tiles = find_images([renumbered(path, number)])
    assert len(tiles) == 6
    for tile in tiles:
        assert isinstance(tile, Part)
        assert tile.label is not None
        x, y = int(tile.label[1:7]), int(tile.label[8:])
        expected = glass[y : y + 512, x : x + 512] / 255
        np.testing.assert_allclose(read_pixels(tile), expected, atol=2 / 255)


def test_a_small_page_of_33003_has_its_colours_too(write) -> None:
    path = write(ybr(COLOUR, 8), compression="jpeg2000", compressionargs={"level": 0, "mct": False}, tile=(16, 16))
    np.testing.assert_allclose(read_pixels(renumbered(path, 33003)), COLOUR / 255, atol=2 / 255)


def test_reduced_copies_and_masks_are_no_pages(tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    for kinds, expected in (
        ([0, 1], 1),
        ([0, 4], 1),
        ([0, 5, 0, 1], 2),
        ([0, 2, 2], 3),  # pages of one document
        ([1, 1], 1),  # nothing else is there
    ):
        with tifffile.TiffWriter(path) as file:
            for k in range(len(kinds)):
                file.write(np.roll(GRAY, k, axis=0), subfiletype=1, photometric="minisblack", metadata=None)
        sources = find_images([renumbered(path, *kinds, tag=254)])
        assert len(sources) == expected
        last = max((k for k, kind in enumerate(kinds) if not kind & 5), default=0)
        np.testing.assert_array_equal(read_pixels(sources[-1]), read_pixels(np.roll(GRAY, last, axis=0)))


def test_alpha_is_laid_over_black_and_what_is_no_alpha_is_left_out(write) -> None:
    deep, opacity = GRAY.astype(np.uint16) * 257, np.full_like(GRAY, 128).astype(np.uint16) * 257
    for values, photometric in ((np.dstack([deep, opacity]), "minisblack"), (np.dstack([deep] * 3 + [opacity]), "rgb")):
        for extra, share in (("unassalpha", 128 / 255), ("assocalpha", 1), ("unspecified", 1)):
            path = write(values, photometric=photometric, extrasamples=[extra])
            pixels = read_pixels(path)
            gray = pixels if pixels.ndim == 2 else pixels[..., 0]
            np.testing.assert_allclose(gray, GRAY / 255 * share, atol=1e-6)


def test_white_that_is_zero_palettes_and_few_bits(write) -> None:
    np.testing.assert_array_equal(read_pixels(write(255 - GRAY, photometric="miniswhite")), read_pixels(GRAY))
    table = np.arange(256, dtype=np.uint16)
    for factor in (1, 256, 257):
        colours = np.stack([table * factor, table[::-1] * factor, table // 2 * factor])
        pixels = read_pixels(write(GRAY, photometric="palette", colormap=colours))
        np.testing.assert_array_equal(pixels, read_pixels(np.dstack([GRAY, 255 - GRAY, GRAY // 2])))
    np.testing.assert_array_equal(read_pixels(write(GRAY > 100, photometric="minisblack")), GRAY > 100)
    for bits in (2, 4, 12):
        few: NDArray[Any] = GRAY.astype(np.uint16) * 16 if bits == 12 else GRAY >> (8 - bits)
        np.testing.assert_allclose(read_pixels(write(few, bitspersample=bits)), few / (2**bits - 1), atol=1e-6)


def test_signed_and_wide_samples_keep_their_sign(write) -> None:
    for dtype in (np.int8, np.int16, np.int32, np.uint32):
        values = GRAY.astype(dtype) // (2 if dtype is np.int8 else 1) - (50 if np.dtype(dtype).kind == "i" else 0)
        path = write(values)
        with pytest.raises(ImageError, match="have no stated range"):
            read_pixels(path)
        window = read_pixels(path, ImageRule("window:-50,200"))
        np.testing.assert_allclose(window, np.clip((values.astype(float) + 50) / 250, 0, 1), atol=1e-6)


@pytest.mark.parametrize("orientation", range(10))
def test_the_orientation_is_applied(write, orientation: int) -> None:
    path = write(GRAY, extratags=[(274, "H", 1, orientation, True)])
    exif = Image.Exif()
    exif[274] = orientation
    with Image.open(io.BytesIO(encoded(Image.fromarray(GRAY), "PNG", exif=exif))) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_pixels(path), read_pixels(expected))


def test_colours_that_pillow_reads_are_read(write, tmp_path: Path) -> None:
    path = tmp_path / "cmyk.tif"
    path.write_bytes(encoded(Image.fromarray(COLOUR).convert("CMYK"), "TIFF"))
    np.testing.assert_allclose(read_pixels(path), COLOUR / 255, atol=2 / 255)


@pytest.mark.parametrize(
    ("values", "options", "said"),
    [
        (GRAY.astype(np.complex64), {}, r"samples of 64 bits in format 6"),
        (np.dstack([GRAY] * 5), {"planarconfig": "contig"}, "5 channels of no stated colour"),
        (np.dstack([GRAY.astype(np.uint16)] * 4), {"photometric": "separated"}, "colours of kind 5.*"),
        (GRAY, {"number": 34676}, "compression 34676"),
    ],
)
def test_other_kinds_are_named_and_not_called_damaged(write, values: Any, options: dict[str, Any], said: str) -> None:
    number = options.pop("number", None)
    path = write(values, **{"photometric": "minisblack"} | options)
    if number:
        renumbered(path, number)
    with pytest.raises(ImageError, match=rf"scan\.tif: is a TIFF of a kind that is not read \({said}\); save it"):
        read_pixels(path)


@pytest.mark.parametrize("kind", ["u1", "u2", "f4", "rgb-u1"])
@pytest.mark.parametrize("compression", [None, "deflate", "lzw", "jpeg", "jpeg2000", "zstd", "webp"])
def test_a_strip_that_ends_early_is_refused(write, kind: str, compression: str | None) -> None:
    if compression in {"f4": ("jpeg", "jpeg2000", "webp"), "u2": ("jpeg", "webp"), "u1": ("webp",)}.get(kind, ()):
        pytest.skip("cannot be written")
    path = write(KINDS[kind], compression=compression)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags[279]
        length = file.pages[0].databytecounts[0]
    for share in (0.3, 0.8, 0.97):
        struct.pack_into("<" + {3: "H", 4: "I"}[int(tag.dtype)], data, tag.valueoffset, int(length * share))
        path.write_bytes(data)
        with pytest.raises(ImageError, match=r"scan\.tif: damaged or truncated TIFF image"):
            read_pixels(path)


def test_a_stack_cut_anywhere_is_refused(write, tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    with tifffile.TiffWriter(path) as file:
        for k in range(4):
            file.write(np.roll(GRAY, k, axis=0), photometric="minisblack", metadata=None)
    data = path.read_bytes()
    for share in np.linspace(0.05, 0.99, 20):
        path.write_bytes(data[: int(len(data) * share)])
        sources = find_images([path])
        assert sources == [path]  # as one picture, so that its row says what is wrong
        with pytest.raises(ImageError, match="damaged or truncated TIFF image"):
            read_pixels(path)


def test_without_tifffile_pillow_reads_what_it_can(write, monkeypatch: pytest.MonkeyPatch) -> None:
    gray = write(GRAY, "gray.tif")
    planes = write(np.ascontiguousarray(COLOUR.transpose(2, 0, 1)).astype(np.uint16), planarconfig="separate")
    half = write(KINDS["f2"], "half.tif")
    monkeypatch.setattr("msde.images.tiff.find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    np.testing.assert_array_equal(read_pixels(gray), read_pixels(GRAY))
    monkeypatch.setattr("msde.images.raster.find_spec", lambda _: None)
    for path in (planes, half):
        with pytest.raises(ImageError, match="reading this kind of TIFF needs a further library; run `pip install"):
            read_pixels(path)


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("lossless", [False, True])
def test_a_jpeg_of_more_bits_is_read(tmp_path: Path, bits: int, lossless: bool) -> None:
    if not lossless and bits != 12:
        pytest.skip("JPEG has 8, 12 or is lossless")
    values = np.rint(GRAY / 255 * (2**bits - 1)).astype(np.uint16)
    path = tmp_path / "deep.jpg"
    path.write_bytes(imagecodecs.jpeg8_encode(values, 98, lossless=lossless, bitspersample=bits))
    np.testing.assert_allclose(read_pixels(path), GRAY / 255, atol=1e-3 if lossless else 0.05)
