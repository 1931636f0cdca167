from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from msde.errors import ImageError
from msde.images import files, raster
from msde.images.files import decode_file, look_into
from msde.images.intensity import to_pixels
from msde.images.raster import decode_image
from msde.images.rule import LEGACY_RULE, ImageRule
from msde.images.samples import Samples

from .pictures import encoded, gray_ramp, rgb_ramp, small_files


@pytest.fixture
def keep(tmp_path: Path):
    def write(data: bytes, name: str = "scan.img") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def full_range(samples: Samples) -> np.ndarray:
    return to_pixels(samples, LEGACY_RULE, "scan")


def values_of(path: Path) -> np.ndarray:
    return decode_file(path, path.name).values


def png_with(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Give a PNG by its header and chunks, whatever they hold."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), *chunks, (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("name", [n for n, data in small_files().items() if not n.endswith(".jpg")])
def test_lossless_files_give_the_picture_that_was_saved(keep, name: str) -> None:
    with Image.open(io.BytesIO(small_files()[name])) as image:
        expected = np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB")).astype(float)
    if name.startswith(("wide", "float")):
        expected = np.repeat(gray_ramp()[..., None], 3, axis=2).astype(float)
    if expected.shape[2] == 4:
        expected = expected[..., :3] * expected[..., 3:] / 255
    samples = decode_file(keep(small_files()[name]), name)
    pixels = full_range(samples)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    np.testing.assert_allclose(pixels * 255, expected, atol=1e-4)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(10))
def test_exif_orientation_is_applied_once(keep, form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = keep(encoded(Image.fromarray(rgb_ramp()), form, exif=exif))
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert expected.shape[:2] == ((20, 24) if 5 <= orientation <= 8 else (24, 20))
    np.testing.assert_array_equal(values_of(path), expected)
    with Image.open(path) as image:
        np.testing.assert_array_equal(decode_image(image, "image").values, expected)


def test_unreadable_exif_is_passed_over(keep) -> None:
    picture = encoded(Image.fromarray(gray_ramp()), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\xff\xff\xff")
    assert values_of(keep(picture)).shape == (24, 20)


@pytest.mark.parametrize(
    ("mode", "shape", "white"),
    [
        ("1", (24, 20), 1),
        ("L", (24, 20), 255),
        ("LA", (24, 20, 2), 255),
        ("P", (24, 20, 3), 255),
        ("PA", (24, 20, 4), 255),
        ("RGB", (24, 20, 3), 255),
        ("RGBA", (24, 20, 4), 255),
        ("RGBa", (24, 20, 4), 255),
        ("La", (24, 20, 2), 255),
        ("RGBX", (24, 20, 3), 255),
        ("CMYK", (24, 20, 3), 255),
        ("YCbCr", (24, 20, 3), 255),
        ("HSV", (24, 20, 3), 255),
        ("I", (24, 20), 65535),
        ("I;16", (24, 20), 65535),
        ("F", (24, 20), 1),
    ],
)
def test_each_mode_of_pillow_gives_samples_with_a_range(mode: str, shape: tuple[int, ...], white: float) -> None:
    image = Image.new("RGBA", (20, 24), "white")
    for step in {
        "PA": ["P", "PA"],
        "La": ["LA", "La"],
        "I;16": ["I", "I;16"],
        "HSV": ["RGB", "HSV"],
        "P": ["RGB", "P"],
    }.get(mode, [mode]):
        image = image.convert("L").convert(step) if step in ("I", "F", "LA") else image.convert(step)
    values, black, top, *_ = decode_image(image, "image")
    assert values.shape == shape
    assert (black, top) == (0, white)


@pytest.mark.parametrize(("mode", "colour"), [("1", 1), ("L", 200), ("RGB", (200, 200, 200)), ("P", 7)])
def test_a_transparent_colour_of_a_png_becomes_black(keep, mode: str, colour: object) -> None:
    image = Image.new(mode, (16, 16), colour)  # type: ignore[arg-type]
    path = keep(encoded(image, "PNG", transparency=colour))
    assert full_range(decode_file(path, "scan")).max() == 0


def test_white_palette_of_a_one_bit_png_is_white(keep) -> None:
    path = keep(encoded(Image.new("1", (16, 16), 1), "PNG"))
    assert full_range(decode_file(path, "scan")).min() == 1


def tiff_with(bits: int, photometric: int, data: bytes, *, sample_format: int = 1) -> bytes:
    """Give an 8 x 8 TIFF that Pillow does not write itself."""
    entries = [(256, 8), (257, 8), (258, bits), (259, 1), (262, photometric), (273, 134), (277, 1), (278, 8)]
    entries += [(279, len(data)), (339, sample_format)]
    directory = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + bytes(4) + data


def test_twelve_bits_have_their_own_white(keep) -> None:
    samples = decode_file(keep(tiff_with(12, 1, b"\xff" * 96)), "scan")
    assert (samples.black, samples.white) == (0, 4095)
    assert full_range(samples).min() == 1


@pytest.mark.parametrize("bits", [8, 16])
def test_white_stored_as_zero_is_white(keep, bits: int) -> None:
    samples = decode_file(keep(tiff_with(bits, 0, bytes(8 * bits))), "scan")
    assert full_range(samples).min() == 1


@pytest.mark.parametrize(("bits", "sample_format"), [(16, 2), (32, 2), (32, 1)])
def test_signed_and_32_bit_tiffs_state_no_range(keep, bits: int, sample_format: int) -> None:
    data = np.arange(64, dtype=f"<{'u' if sample_format == 1 else 'i'}{bits // 8}").tobytes()
    samples = decode_file(keep(tiff_with(bits, 1, data, sample_format=sample_format)), "scan")
    with pytest.raises(ImageError, match="^scan: samples of type .* have no stated range; .*percentile or window"):
        full_range(samples)
    np.testing.assert_allclose(
        to_pixels(samples, ImageRule("window:0,63"), "scan").ravel(), np.arange(64) / 63, atol=1e-7
    )


def test_lab_is_refused(keep) -> None:
    with pytest.raises(ImageError, match="colour mode LAB .*; convert"):
        decode_image(Image.new("LAB", (16, 16)), "scan")


@pytest.mark.parametrize("form", ["TIFF", "GIF", "PNG", "WEBP"])
def test_several_pages_or_frames_need_a_number(keep, form: str) -> None:
    first, *rest = (Image.fromarray(np.roll(gray_ramp(), k, axis=0)) for k in range(3))
    options = {"lossless": True} if form == "WEBP" else {}
    path = keep(encoded(first, form, save_all=True, append_images=rest, **options))
    with pytest.raises(ImageError, match="^scan: holds 3 pages or frames .*; name one, such as scan#000"):
        decode_file(path, "scan")
    gray = full_range(decode_file(path, "scan", "001")).reshape(24, 20, -1)[..., 0]
    np.testing.assert_allclose(gray * 255, np.asarray(rest[0]), atol=2)
    for label in ("003", "-1", "one", "", "1" * 20):
        with pytest.raises(ImageError, match="there is no such part among its 3 pages or frames; count from #000"):
            decode_file(path, "scan", label)


@pytest.mark.parametrize(("form", "labels"), [("TIFF", ["000", "001", "002"]), ("GIF", []), ("PNG", [])])
def test_the_pages_of_a_tiff_are_listed(keep, form: str, labels: list[str]) -> None:
    first, *rest = (Image.fromarray(np.roll(gray_ramp(), k, axis=0)) for k in range(3))
    contents = look_into(keep(encoded(first, form, save_all=True, append_images=rest)), "scan")
    assert contents is not None
    assert list(contents.parts) == labels


def test_the_first_picture_of_a_camera_mpo_is_read(keep) -> None:
    image = Image.fromarray(rgb_ramp())
    path = keep(encoded(image, "MPO", save_all=True, append_images=[image.resize((10, 12))]))
    assert values_of(path).shape == (24, 20, 3)


def test_the_frame_at_which_a_pillow_image_stands_is_read() -> None:
    first, second = Image.fromarray(gray_ramp()), Image.fromarray(gray_ramp()[::-1])
    with Image.open(io.BytesIO(encoded(first, "TIFF", save_all=True, append_images=[second]))) as image:
        image.seek(1)
        np.testing.assert_array_equal(decode_image(image, "image").values, gray_ramp()[::-1])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", r"is empty \(0 bytes\); copy"),
        (b"no image at all", "not an image in a format that is read .*; convert"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image in a format"),
        (b"\xff\xd8\xff", "damaged or truncated JPEG .*; copy"),
        (b"P5 20", "damaged or truncated PPM"),
        (png_with(1, 1, (b"IDAT", zlib.compress(bytes(2)))), "1 x 1 px is too small"),
        (png_with(20_000, 20_000), "20000 x 20000 px is over the limit"),
        (png_with(2**31 - 1, 2**31 - 1), "over the limit"),
        (png_with(9_480, 9_480, (b"IDAT", b"")), "damaged or truncated PNG"),  # here Pillow by itself only warns
        (png_with(16, 16, (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))), "damaged or truncated PNG"),
        (png_with(16, 16), "damaged or truncated PNG"),
    ],
)
def test_bad_files_end_in_one_line_that_names_file_and_remedy(keep, data: bytes, said: str) -> None:
    path = keep(data)
    for action in ("error", "always"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(action)
            with pytest.raises(ImageError, match=f"^scan: .*{said}") as error:
                decode_file(path, "scan")
        assert not caught
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", small_files())
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8, 0.97])
def test_truncated_files_are_refused(keep, name: str, share: float) -> None:
    data = small_files()[name]
    with pytest.raises(ImageError, match=r"^scan: damaged or truncated \w+ image \(.+\); copy or export it again$"):
        decode_file(keep(data[: int(len(data) * share)]), "scan")


def test_text_bomb_behind_the_picture_is_refused(keep) -> None:
    data = png_with(16, 16, (b"IDAT", zlib.compress(bytes(17 * 16))), (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8))))
    with pytest.raises(ImageError, match="damaged or truncated PNG"):
        decode_file(keep(data), "scan")


def test_folder_missing_file_pipe_and_impossible_path(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="^scan: is a folder, not an image; give the images in it$"):
        decode_file(tmp_path, "scan")
    with pytest.raises(ImageError, match=r"^scan: cannot be opened \(No such file or directory\); check the path"):
        decode_file(tmp_path / "missing.png", "scan")
    with pytest.raises(ImageError, match="^scan: cannot be opened .*null"):
        decode_file("a\0b.png", "scan")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="^scan: is no regular file; give an image file$"):
        decode_file(tmp_path / "pipe.png", "scan")


def test_missing_permission(keep, monkeypatch: pytest.MonkeyPatch) -> None:
    path = keep(small_files()["gray.png"])

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "open", refused, raising=False)  # the superuser may read everything
    with pytest.raises(ImageError, match=r"^scan: cannot be opened \(Permission denied\); check the path and its"):
        decode_file(path, "scan")


def test_closed_pillow_image(keep) -> None:
    path = keep(small_files()["gray.png"])
    image = Image.open(path)
    image.close()
    with pytest.raises(ImageError, match="^image: damaged or truncated Pillow image"):
        decode_image(image, "image")


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "LA", "P", "I;16", "I", "F", "CMYK"])
def test_rows_come_from_pillow_some_at_a_time_and_are_the_same(mode, rng, monkeypatch):
    image = Image.fromarray(rng.integers(0, 256, (50, 30, 3), dtype=np.uint8)).convert(
        "L" if mode in ("I;16", "F") else "RGB"
    )
    image = image.convert(mode)
    whole = decode_image(image, "x").values
    monkeypatch.setattr(raster, "_AT_ONCE", 0)
    monkeypatch.setattr(raster, "_ROWS", 7)
    assert np.array_equal(decode_image(image, "x").values, whole)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_may_be_made_of_squares_of_pixels(mode, rng, tmp_path, monkeypatch):
    values = rng.integers(0, 256, (47, 33, 3), dtype=np.uint8)
    image = Image.fromarray(values).convert(mode)
    image.save(tmp_path / "a.png")
    monkeypatch.setattr(raster, "_ROWS", 5)
    smaller = decode_file(tmp_path / "a.png", "a", at_most=200).values
    assert np.array_equal(smaller, np.asarray(image.reduce(3)))
    assert decode_file(tmp_path / "a.png", "a", at_most=47 * 33).values.shape[:2] == (47, 33)
