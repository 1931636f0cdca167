"""The same picture has the same pixels in every photometric interpretation, transfer syntax and depth."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from msde.errors import ImageError
from msde.images import ImageRule, read_pixels

from .medical import NATIVE, dicom_bytes, nifti_bytes
from .pictures import encoded, gray_ramp, rgb_ramp
from .syntaxes import ENCODERS, NAMES, encapsulated, writes, written

PLAIN = gray_ramp(40, 32)
COLOUR = rgb_ramp(40, 32)
DEPTHS = (8, 10, 12, 16)


def deepened(values: NDArray[np.uint8], bits: int) -> NDArray[Any]:
    """Give the same picture in more bits, as far as they can show it."""
    return np.rint(values / 255 * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def ybr(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """Turn RGB into full-range YCbCr as part 3, C.7.6.3.1.2 has it."""
    red, green, blue = np.moveaxis(values.astype(float), -1, 0)
    light = 0.299 * red + 0.587 * green + 0.114 * blue
    middle = 2 ** (bits - 1)
    planes = [light, (blue - light) / 1.772 + middle, (red - light) / 1.402 + middle]
    return np.clip(np.rint(np.stack(planes, axis=-1)), 0, 2**bits - 1).astype(values.dtype)


def interpretations(bits: int) -> dict[str, tuple[NDArray[Any], NDArray[np.uint8], dict[str, Any]]]:
    """Give what is stored for each photometric interpretation, the picture that it is, and further elements."""
    gray, colour = deepened(PLAIN, bits), deepened(COLOUR, bits)
    ramp = np.arange(256, dtype=np.uint16) * 257
    tables = {
        f"{c}PaletteColorLookupTable{what}": value
        for c in ("Red", "Green", "Blue")
        for what, value in (("Descriptor", [256, 0, 16]), ("Data", ramp.astype("<u2").tobytes()))
    }
    found: dict[str, tuple[NDArray[Any], NDArray[Any], dict[str, Any]]] = {
        "MONOCHROME2": (gray, PLAIN, {}),
        "MONOCHROME1": ((2**bits - 1 - gray).astype(gray.dtype), PLAIN, {}),
        "RGB": (colour, COLOUR, {"PhotometricInterpretation": "RGB"}),
        "YBR_FULL": (ybr(colour, bits), COLOUR, {"PhotometricInterpretation": "YBR_FULL"}),
    }
    if bits == 8:
        found["PALETTE COLOR"] = (PLAIN, np.dstack([PLAIN] * 3), tables)
    return found


# What JPEG states of its own colours counts, so YCbCr has to be written as such, which other tests do.
CASES = [
    (syntax, bits, kind)
    for syntax, bits in itertools.product(NAMES, DEPTHS)
    for kind, (values, _, _) in interpretations(bits).items()
    if writes(syntax, values, bits)
    and not (values.ndim == 3 and syntax.endswith(".4.50"))
    and not (kind == "PALETTE COLOR" and not ENCODERS.get(syntax, ("", None, True))[2])
    and not (kind == "YBR_FULL" and syntax.endswith((".90", ".201")))
]


@pytest.fixture
def keep(tmp_path: Path):
    def write(data: bytes, name: str = "scan.dcm") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def case_name(value: object) -> str:
    return NAMES.get(str(value), str(value))


@pytest.mark.parametrize(("syntax", "bits", "kind"), CASES, ids=case_name)
def test_the_same_picture_has_the_same_pixels(keep, syntax: str, bits: int, kind: str) -> None:
    values, picture, elements = interpretations(bits)[kind]
    if syntax == ExplicitVRBigEndian and kind == "PALETTE COLOR":
        pytest.skip("tables of words are turned too, which another test does")
    pixels = read_pixels(keep(written(values, syntax, bits, **{"PhotometricInterpretation": kind} | elements)))
    lossless = syntax not in ENCODERS or ENCODERS[syntax][2]
    rounding = 0.51 / (2**bits - 1) + (1.6 / 255 if kind == "YBR_FULL" else 0)
    np.testing.assert_allclose(pixels, picture / 255, atol=rounding if lossless else 0.06)
    assert np.abs(pixels - picture / 255).mean() < (rounding if lossless else 0.01)


@pytest.mark.parametrize("bits", [8, 16])
def test_the_same_picture_by_every_way_is_the_same(keep, bits: int) -> None:
    import tifffile

    values = PLAIN if bits == 8 else PLAIN.astype(np.uint16) * 257
    expected = read_pixels(values)
    tifffile.imwrite(keep(b"", "a.tif"), values, photometric="minisblack")
    tifffile.imwrite(keep(b"", "b.tif"), values, photometric="minisblack", compression="deflate", predictor=True)
    paths = [
        keep(encoded(Image.fromarray(values), "PNG"), "a.png"),
        keep(nifti_bytes(values.T), "a.nii"),
        keep(dicom_bytes(values)),
        keep(b"", "c.tif").with_name("a.tif"),
        keep(b"", "c.tif").with_name("b.tif"),
        *(keep(written(values, syntax), f"{k}.dcm") for k, syntax in enumerate(NAMES) if "4.5" not in syntax[-4:]),
    ]
    for path in paths:
        np.testing.assert_array_equal(read_pixels(path), expected, err_msg=path.name)


@pytest.mark.parametrize("syntax", [*NATIVE, "1.2.840.10008.1.2.5"], ids=case_name)
@pytest.mark.parametrize(("stored", "high"), [(12, 15), (10, 11), (8, 15), (8, 8), (12, 11)])
@pytest.mark.parametrize("signed", [False, True])
def test_stored_bits_end_at_the_high_bit(keep, syntax: str, stored: int, high: int, signed: bool) -> None:
    values = deepened(PLAIN, stored).astype(np.int32) - (2 ** (stored - 1) if signed else 0)
    shifted = (values << (high + 1 - stored)).astype(np.uint16)
    elements = {"BitsStored": stored, "HighBit": high, "PixelRepresentation": int(signed)}
    pixels = read_pixels(keep(written(shifted, syntax, **elements)), ImageRule("full-range"))
    np.testing.assert_allclose(pixels, PLAIN / 255, atol=0.51 / (2**stored - 1))


def test_a_high_bit_that_does_not_fit_is_refused(keep) -> None:
    values = deepened(PLAIN, 12)
    misfits: list[dict[str, Any]] = [
        {"BitsStored": 12, "HighBit": 15},
        {"BitsStored": 12, "HighBit": 7},
        {"BitsStored": 17, "HighBit": 16},
        {"BitsStored": 24, "HighBit": 23},
    ]
    for elements in misfits:
        with pytest.raises(ImageError, match=r"DICOM image \(its .*HighBit.*\)"):
            read_pixels(keep(dicom_bytes(values, **elements)))


def test_white_of_colours_is_that_of_their_stored_bits(keep) -> None:
    values = deepened(COLOUR, 12)
    for planes in (0, 1):
        held = values.transpose(2, 0, 1).reshape(values.shape) if planes else values
        path = keep(dicom_bytes(np.ascontiguousarray(held), BitsStored=12, HighBit=11, PlanarConfiguration=planes))
        np.testing.assert_allclose(read_pixels(path), COLOUR / 255, atol=1e-3)


def test_halved_colours_are_spread(keep) -> None:
    flat = np.repeat(COLOUR[:, ::2], 2, axis=1)
    full = ybr(flat, 8)
    pairs = np.stack([full[:, ::2, 0], full[:, 1::2, 0], full[:, ::2, 1], full[:, ::2, 2]], axis=-1)
    path = keep(dicom_bytes(flat, PhotometricInterpretation="YBR_FULL_422", PixelData=pairs.tobytes()))
    np.testing.assert_allclose(read_pixels(path), flat / 255, atol=1.6 / 255)


@pytest.mark.parametrize("stated", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("kind", ["numbered", "jfif", "rgb-adobe"])
def test_a_jpeg_knows_its_own_colours(keep, stated: str, kind: str) -> None:
    smooth = np.asarray(Image.fromarray(COLOUR).resize((64, 80), Image.Resampling.BICUBIC))
    if kind == "rgb-adobe":
        stream = encoded(Image.fromarray(smooth), "JPEG", quality=98, keep_rgb=True)
    else:
        stream = encoded(Image.fromarray(smooth), "JPEG", quality=98, subsampling=0)
        if kind == "numbered":  # without its JFIF segment
            stream = stream[:2] + stream[4 + int.from_bytes(stream[4:6], "big") :]
    path = keep(encapsulated([stream], "1.2.840.10008.1.2.4.50", smooth, PhotometricInterpretation=stated))
    np.testing.assert_allclose(read_pixels(path), smooth / 255, atol=0.06)


@pytest.mark.parametrize(("stated", "turned"), [("RGB", False), ("YBR_FULL", True)])
def test_a_jpeg_that_says_nothing_of_its_colours_is_as_the_header_says(keep, stated: str, turned: bool) -> None:
    smooth = np.asarray(Image.fromarray(COLOUR).resize((64, 80), Image.Resampling.BICUBIC))
    stream = bytearray(
        encoded(Image.fromarray(ybr(smooth, 8) if turned else smooth), "JPEG", quality=98, keep_rgb=True)
    )
    adobe = stream.index(b"\xff\xee")
    del stream[adobe : adobe + 2 + int.from_bytes(stream[adobe + 2 : adobe + 4], "big")]
    for marker, step in ((b"\xff\xc0", 10), (b"\xff\xda", 5)):  # components 0, 1, 2
        at = stream.index(marker) + step
        width = 3 if marker == b"\xff\xc0" else 2
        for k in range(3):
            stream[at + k * width] = k
    path = keep(encapsulated([bytes(stream)], "1.2.840.10008.1.2.4.50", smooth, PhotometricInterpretation=stated))
    np.testing.assert_allclose(read_pixels(path), smooth / 255, atol=0.06)


@pytest.mark.parametrize("stated", ["RGB", "YBR_RCT", "YBR_ICT", "YBR_FULL"])
def test_jpeg_2000_knows_whether_its_colours_were_turned(keep, stated: str) -> None:
    stream = imagecodecs.jpeg2k_encode(COLOUR, level=0, codecformat="j2k", reversible=True, mct=True)
    path = keep(encapsulated([bytes(stream)], "1.2.840.10008.1.2.4.90", COLOUR, PhotometricInterpretation=stated))
    np.testing.assert_array_equal(read_pixels(path), read_pixels(COLOUR))


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11}, "12 bits a sample, which is not read; export it"),
        ({"BitsAllocated": 64, "BitsStored": 64, "HighBit": 63}, "64 bits a sample, which is not read; export it"),
        ({"PhotometricInterpretation": "HSV", "SamplesPerPixel": 3}, "colours that are not read; export it as"),
        ({"PhotometricInterpretation": ""}, "states no photometric interpretation, so .*; export it again"),
        ({"SamplesPerPixel": 3}, r"damaged .*\(its SamplesPerPixel and Photometric.* contradict each other\)"),
    ],
)
def test_other_kinds_are_told_from_damage(keep, elements: dict[str, Any], said: str) -> None:
    with pytest.raises(ImageError, match=said):
        read_pixels(keep(dicom_bytes(PLAIN.astype(np.uint64), **elements)))


@pytest.mark.parametrize(("syntax", "kind"), [("1.2.840.113619.5.2", "a private"), ("1.2.840.10008.1.2.4.95", "JPIP")])
def test_other_syntaxes_are_named(keep, syntax: str, kind: str) -> None:
    data = dicom_bytes(PLAIN, ExplicitVRLittleEndian)
    padded = syntax.encode() + b"\0" * (len(syntax) % 2)
    old = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0"
    new = b"\x02\x00\x10\x00UI" + len(padded).to_bytes(2, "little") + padded
    length = int.from_bytes(data[140:144], "little") + len(new) - len(old)
    path = keep(data[:140] + length.to_bytes(4, "little") + data[144:].replace(old, new))
    with pytest.raises(ImageError, match=rf"stored in a way that is not read \({kind}.*\); export it uncompressed"):
        read_pixels(path)


def test_one_bit_frames_need_not_begin_with_a_byte(keep) -> None:
    frames = np.stack([np.roll(PLAIN[:9, :9] > 100, k, axis=0) for k in range(3)])
    packed = np.packbits(frames.ravel(), bitorder="little").tobytes()
    path = keep(
        dicom_bytes(
            frames.astype(np.uint8),
            BitsAllocated=1,
            BitsStored=1,
            HighBit=0,
            PixelData=packed + b"\0" * (len(packed) % 2),
        )
    )
    for k in range(3):
        np.testing.assert_array_equal(read_pixels(f"{path}#{k:03}"), frames[k])
