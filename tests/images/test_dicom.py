from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from msde.errors import ImageError
from msde.images import ImageRule, Part, read_pixels
from msde.images.files import look_into

from .medical import NATIVE, SECRETS, dicom_bytes, dicom_dataset, medical_files, pydicom_file, saved
from .pictures import encoded, gray_ramp, rgb_ramp

FULL = ImageRule("full-range")
TWELVE = gray_ramp().astype(np.uint16) * 16


@pytest.fixture
def keep(tmp_path: Path):
    def write(data: bytes, name: str = "scan.dcm") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
@pytest.mark.parametrize(
    "values", [gray_ramp(), gray_ramp().astype(np.uint16) * 257, rgb_ramp()], ids=["8", "16", "rgb"]
)
def test_native_files_give_the_pixels_of_the_array(keep, syntax: str, values: np.ndarray) -> None:
    np.testing.assert_array_equal(read_pixels(keep(dicom_bytes(values, syntax))), read_pixels(values))


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless], ids=lambda uid: uid.name)
@pytest.mark.parametrize(
    "values", [gray_ramp(64, 40), gray_ramp(64, 40).astype(np.uint16) * 16, rgb_ramp(64, 40)], ids=["8", "16", "rgb"]
)
def test_lossless_compression_changes_nothing(keep, syntax: str, values: np.ndarray) -> None:
    dataset = dicom_dataset(values)
    dataset.compress(syntax, generate_instance_uid=False)
    np.testing.assert_array_equal(read_pixels(keep(saved(dataset))), read_pixels(values))


def test_jpeg_inside_is_the_jpeg_alone(keep, tmp_path: Path) -> None:
    stream = encoded(Image.fromarray(rgb_ramp()), "JPEG", quality=95, subsampling=0)
    (tmp_path / "alone.jpg").write_bytes(stream)
    dataset = dicom_dataset(rgb_ramp(), JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL")
    dataset.PixelData = pydicom.encaps.encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    np.testing.assert_allclose(read_pixels(keep(saved(dataset))), read_pixels(tmp_path / "alone.jpg"), atol=3 / 255)


# What pydicom ships with a picture in it, and a figure of each that any sound reading gives.
SHIPPED = {
    "693_J2KI.dcm": (512, 512),
    "CT_small.dcm": (128, 128),
    "ExplVR_BigEnd.dcm": (60, 80, 3),
    "GDCMJ2K_TextGBR.dcm": (400, 400, 3),
    "J2K_pixelrep_mismatch.dcm": (512, 512),
    "JPEG2000.dcm": (1024, 256),
    "JPEG-lossy.dcm": (1024, 256),  # a misstated spectral selection
    "JPEGLSNearLossless_08.dcm": (45, 10),
    "JPEGLSNearLossless_16.dcm": (50, 10),
    "JPGExtended.dcm": (1024, 256),
    "MR_small_padded.dcm": (64, 64),
    "SC_jpeg_no_color_transform.dcm": (256, 256, 3),
    "SC_rgb_jpeg.dcm": (256, 256, 3),  # implicit types where its syntax wants explicit ones
    "SC_rgb_jpeg_app14_dcmd.dcm": (256, 256, 3),
    "SC_rgb_jpeg_dcmd.dcm": (256, 256, 3),
    "examples_jpeg2k.dcm": (480, 640, 3),
    "examples_overlay.dcm": (300, 484),
    "examples_palette.dcm": (350, 800, 3),
    "examples_rgb_color.dcm": (240, 320, 3),
    "image_dfl.dcm": (512, 512),
    "liver_1frame.dcm": (512, 512),
    "rtdose_1frame.dcm": (10, 10),
}
REFUSED = {
    "JPEG2000-embedded-sequence-delimiter.dcm": "damaged or truncated DICOM image",  # no decoder reads its stream
    "MR_truncated.dcm": "damaged or truncated DICOM image",
    "SC_rgb_small_odd.dcm": "3 x 3 px is too small",
    "badVR.dcm": "damaged or truncated DICOM image",
    "reportsi.dcm": r"is a DICOM object without a picture \(Basic Text SR\); leave it out",
    "rtplan.dcm": r"without a picture \(RT Plan\)",
    "rtstruct.dcm": r"without a picture \(RT Structure Set\)",
    "DICOMDIR": r"without a picture \(Media Storage Directory\)",
    "no_meta.dcm": r"damaged or truncated DICOM image \(it states no size\)",
    "priv_SQ.dcm": r"damaged or truncated DICOM image \(it states no size\)",
}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_are_read(name: str) -> None:
    pixels = read_pixels(pydicom_file(name))
    assert pixels.shape == SHIPPED[name]
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert pixels.std() > 0.001


@pytest.mark.parametrize("name", REFUSED)
def test_shipped_files_that_are_no_pictures_are_refused(name: str) -> None:
    with pytest.raises(ImageError, match=f": (is a DICOM object )?{REFUSED[name]}") as error:
        read_pixels(pydicom_file(name))
    assert str(error.value).isprintable()
    assert ";" in str(error.value)


SMALL_MR = ["_RLE", "_bigendian", "_expb", "_implicit", "_jp2klossless", "_jpeg_ls_lossless"]


@pytest.mark.parametrize("kind", SMALL_MR)
def test_the_same_picture_in_each_syntax_is_the_same(kind: str) -> None:
    expected = read_pixels(pydicom_file("MR_small.dcm"))
    np.testing.assert_array_equal(read_pixels(pydicom_file(f"MR_small{kind}.dcm")), expected)


@pytest.mark.parametrize("kind", ["jpeg_dcmtk", "jpeg_gdcm", "jpeg_lossy_gdcm", "rle", "gdcm_KY", "dcmtk_+eb+cy+np"])
def test_colour_bars_have_their_colours(kind: str) -> None:
    pixels = read_pixels(pydicom_file(f"SC_rgb_{kind}.dcm"))
    assert pixels.shape == (100, 100, 3)
    np.testing.assert_allclose(pixels[5, 50], [1, 0, 0], atol=0.03)
    np.testing.assert_allclose(pixels[25, 50], [0, 1, 0], atol=0.03)


def test_uncompressed_ybr_is_rgb() -> None:
    np.testing.assert_allclose(
        read_pixels(pydicom_file("SC_ybr_full_422_uncompressed.dcm"))[5, 50], [1, 0, 0], atol=0.03
    )


@pytest.mark.parametrize(
    "name", ["SC_rgb_rle_16bit_2frame.dcm", "examples_ybr_color.dcm", "rtdose_rle.dcm", "rtdose.dcm"]
)
def test_frames_are_read_one_by_one(name: str) -> None:
    path = pydicom_file(name)
    contents = look_into(path, name)
    frames = pydicom.dcmread(path).pixel_array
    assert contents is not None
    assert list(contents.parts) == [f"{k:03}" for k in range(len(frames))]
    values = frames[1].astype(float)
    pixels = read_pixels(Part(str(path), str(path), "001"), ImageRule("percentile"))
    low, high = np.percentile(values, [0.5, 99.5], method="nearest")
    near = 3.01 / (high - low) if "ybr" in name else 1e-6  # decoders spread subsampled colours in their own ways
    np.testing.assert_allclose(pixels, np.clip((values - low) / (high - low), 0, 1), atol=near)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (2.5, 10), (-1, 0)])
def test_the_modality_lut_gives_the_unit(keep, signed: bool, slope: float, intercept: float) -> None:
    stored = (gray_ramp().astype(np.int32) * 8 - (1000 if signed else 0)).astype(np.int16 if signed else np.uint16)
    path = keep(dicom_bytes(stored, RescaleSlope=slope, RescaleIntercept=intercept))
    unit = stored.astype(int) * slope + intercept
    for rule in ("window:-500,700", "window:0,1500.5"):
        low, high = ImageRule(rule).window()
        expected = np.clip((unit - low) / (high - low), 0, 1)
        np.testing.assert_allclose(read_pixels(path, ImageRule(rule)), expected, atol=1e-6)
    full = read_pixels(path, FULL)
    assert 0 < full.min() < full.max() < 1 or not signed
    assert (np.corrcoef(full.ravel(), stored.ravel())[0, 1] > 0) == (slope > 0)


def table(entries: list[int], first: int, bits: int = 16) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries)
    item.ModalityLUTType = "US"
    return Sequence([item])


def test_a_modality_table_is_looked_up(keep) -> None:
    entries = [(k * 37) % 256 for k in range(256)]
    path = keep(dicom_bytes(gray_ramp(), ModalityLUTSequence=table(entries, 0, 8)))
    np.testing.assert_array_equal(read_pixels(path, FULL), read_pixels(np.array(entries, np.uint8)[gray_ramp()]))


@pytest.mark.parametrize("signed", [False, True])
def test_a_voi_table_is_looked_up_and_ends_beyond_it(keep, signed: bool) -> None:
    stored = TWELVE.astype(np.int16) - 2000 if signed else TWELVE
    first = -500 if signed else 1500
    entries = [int(65535 * (k / 999) ** 2) for k in range(1000)]
    path = keep(dicom_bytes(stored, VOILUTSequence=table(entries, first)))
    expected = np.array(entries)[np.clip(stored.astype(int) - first, 0, 999)] / 65535
    np.testing.assert_allclose(read_pixels(path), expected, atol=1e-6)
    np.testing.assert_array_equal(read_pixels(path, FULL), read_pixels(keep(dicom_bytes(stored), "b.dcm"), FULL))


def test_an_8_bit_voi_table_for_12_bit_samples_does_not_wrap(keep) -> None:
    path = keep(dicom_bytes(TWELVE, VOILUTSequence=table(list(range(256)), 1000, 8)))
    np.testing.assert_allclose(read_pixels(path), np.clip(TWELVE.astype(int) - 1000, 0, 255) / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "shown"),
    [
        ("LINEAR", lambda x: np.clip((x - (2000 - 0.5)) / (1000 - 1) + 0.5, 0, 1)),
        ("LINEAR_EXACT", lambda x: np.clip((x - 2000) / 1000 + 0.5, 0, 1)),
        ("SIGMOID", lambda x: 1 / (1 + np.exp(-4 * (x - 2000) / 1000))),
        (None, lambda x: np.clip((x - (2000 - 0.5)) / (1000 - 1) + 0.5, 0, 1)),
    ],
)
def test_window_functions_follow_the_standard(keep, function: str | None, shown: Any) -> None:
    window: dict[str, Any] = {"WindowCenter": [2000, 5], "WindowWidth": [1000, 9]} | (
        {"VOILUTFunction": function} if function else {}
    )
    path = keep(dicom_bytes(TWELVE, **window))
    expected = shown(TWELVE.astype(float))
    np.testing.assert_allclose(read_pixels(path), expected, atol=1e-6)
    inverse = keep(dicom_bytes(TWELVE, PhotometricInterpretation="MONOCHROME1", **window), "inverse.dcm")
    np.testing.assert_allclose(read_pixels(inverse), 1 - expected, atol=1e-6)


def test_a_window_of_one_step_is_a_threshold(keep) -> None:
    pixels = read_pixels(keep(dicom_bytes(TWELVE, WindowCenter=2000, WindowWidth=1)))
    np.testing.assert_array_equal(pixels, TWELVE > 1999.5)


@pytest.mark.parametrize("rule", ["dicom", "full-range", "percentile", "window:100,3000"])
def test_monochrome1_is_the_inverse(keep, rule: str) -> None:
    one = dicom_bytes(TWELVE, BitsStored=12, HighBit=11, PhotometricInterpretation="MONOCHROME1")
    two = dicom_bytes(4095 - TWELVE, BitsStored=12, HighBit=11)
    mirrored = "window:1095,3995" if rule.startswith("window") else rule
    expected = read_pixels(keep(two), ImageRule(mirrored))
    np.testing.assert_array_equal(read_pixels(keep(one, "one.dcm"), ImageRule(rule)), expected)


@pytest.mark.parametrize("signed", [False, True])
def test_unused_bits_are_ignored(keep, signed: bool) -> None:
    stored = TWELVE.astype(np.int16) - 2048 if signed else TWELVE
    dirty = ((stored.view(np.uint16) & 0x0FFF) | 0xA000).view(stored.dtype)
    clean, overlaid = (
        keep(dicom_bytes(values, BitsStored=12, HighBit=11), f"{k}.dcm") for k, values in enumerate((stored, dirty))
    )
    np.testing.assert_array_equal(read_pixels(overlaid, FULL), read_pixels(clean, FULL))
    np.testing.assert_array_equal(read_pixels(clean, FULL), (TWELVE / np.float32(4095)).astype(np.float32))


def test_without_a_window_each_modality_has_its_stated_stand_in(keep) -> None:
    stored = TWELVE.astype(np.int16) - 2000
    shown = {kind: read_pixels(keep(dicom_bytes(stored, Modality=kind))) for kind in ("CT", "MR", "OT")}
    np.testing.assert_allclose(shown["CT"], np.clip((stored + 1000.0) / 2000, 0, 1), atol=1e-6)
    np.testing.assert_array_equal(shown["MR"], read_pixels(stored, ImageRule("percentile")))
    np.testing.assert_allclose(shown["OT"], (stored + 32768.0) / 65535, atol=1e-6)


def test_frames_have_their_own_windows(keep) -> None:
    def group(sequence: str, **elements: Any) -> Dataset:
        inner, outer = Dataset(), Dataset()
        for keyword, value in elements.items():
            setattr(inner, keyword, value)
        setattr(outer, sequence, Sequence([inner]))
        return outer

    path = keep(
        dicom_bytes(
            np.stack([TWELVE, TWELVE]),
            SharedFunctionalGroupsSequence=Sequence(
                [group("PixelValueTransformationSequence", RescaleSlope=2, RescaleIntercept=-100)]
            ),
            PerFrameFunctionalGroupsSequence=Sequence(
                [group("FrameVOILUTSequence", WindowCenter=c, WindowWidth=1001) for c in (1000, 3000)]
            ),
        )
    )
    for frame, centre in (("000", 1000), ("001", 3000)):
        expected = np.clip((TWELVE * 2.0 - 100 - centre + 0.5) / 1000 + 0.5, 0, 1)
        np.testing.assert_allclose(read_pixels(f"{path}#{frame}"), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"Rows": 65535, "Columns": 65535}, "65535 x 65535 px is over the limit"),
        ({"Rows": 200, "Columns": 200}, "damaged or truncated DICOM"),
        ({"Rows": 0}, "too small"),
        ({"NumberOfFrames": -3}, "states -3 frames where"),
        ({"NumberOfFrames": 2_000_000_000}, "states 2000000000 frames where"),
        ({"BitsAllocated": 7, "BitsStored": 7, "HighBit": 6}, "is stored in 7 bits a sample, which is not read"),
        ({"BitsStored": 40}, "damaged or truncated DICOM"),
        ({"SamplesPerPixel": 9}, "damaged or truncated DICOM"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "damaged or truncated DICOM"),
    ],
)
def test_absurd_headers_are_refused_in_one_line(keep, elements: dict[str, Any], said: str) -> None:
    path = keep(dicom_bytes(gray_ramp(), **elements))
    with pytest.raises(ImageError, match=f"scan.dcm: .*{said}.*; .+") as error:
        read_pixels(path)
    assert str(error.value).isprintable()


def test_a_compressed_stream_of_another_size_is_refused_before_it_is_decoded(keep) -> None:
    stream = bytearray(encoded(Image.fromarray(gray_ramp()), "JPEG"))
    at = stream.index(b"\xff\xc0") + 5
    stream[at : at + 4] = b"\xff\xdc\xff\xdc"
    dataset = dicom_dataset(gray_ramp(), JPEGBaseline8Bit)
    dataset.PixelData = pydicom.encaps.encapsulate([bytes(stream)])
    with pytest.raises(ImageError, match="its compressed stream states another size than its header"):
        read_pixels(keep(saved(dataset)))


def test_a_deflated_bomb_is_refused(keep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("msde.images.dicom.MAX_INFLATED", 10_000_000)
    plain = dicom_bytes(gray_ramp(), DeflatedExplicitVRLittleEndian)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    start = 144 + int.from_bytes(plain[140:144], "little")
    bomb = plain[:start] + deflater.compress(bytes(20_000_000)) + deflater.flush()
    with pytest.raises(ImageError, match="holds over 10,000,000 bytes deflated; export it uncompressed"):
        read_pixels(keep(bomb))


def test_a_video_is_refused_by_its_syntax(keep) -> None:
    dataset = dicom_dataset(gray_ramp(), "1.2.840.10008.1.2.4.102")
    dataset.PixelData = pydicom.encaps.encapsulate([b"\0" * 100])
    with pytest.raises(
        ImageError,
        match=r"is stored in a way that is not read \(MPEG-4 .+\); export it uncompressed",
    ):
        read_pixels(keep(saved(dataset)))


def test_an_encapsulated_document_is_no_picture(keep) -> None:
    dataset = dicom_dataset(gray_ramp())
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(dataset, keyword)
    dataset.SOPClassUID = EncapsulatedPDFStorage
    dataset.EncapsulatedDocument = b"%PDF-1.7"
    path = keep(saved(dataset))
    assert look_into(path, "scan.dcm") is None
    with pytest.raises(ImageError, match=r"without a picture \(Encapsulated PDF\); leave it out"):
        read_pixels(path)


def test_an_encrypted_file_is_no_dicom(keep) -> None:
    with pytest.raises(ImageError, match=r"scan.dcm: damaged or truncated DICOM image"):
        read_pixels(keep(b"0\x82\x10\x00\x06\x09*\x86H\x86\xf7\r\x01\x07\x03" + bytes(range(256)) * 8))


def test_dicom_is_recognised_without_suffix_and_without_preamble(keep) -> None:
    data = dicom_bytes(gray_ramp(), ExplicitVRLittleEndian)
    np.testing.assert_array_equal(read_pixels(keep(data, "IM0001")), read_pixels(gray_ramp()))
    start = 144 + int.from_bytes(data[140:144], "little")
    np.testing.assert_array_equal(read_pixels(keep(data[start:], "old.dcm")), read_pixels(gray_ramp()))


def test_a_missing_library_is_named_with_its_extra(keep, monkeypatch: pytest.MonkeyPatch) -> None:
    path = keep(dicom_bytes(gray_ramp()), "other.dcm")
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(ImageError, match=r"reading DICOM needs a further library; run `pip install 'msde\[dicom\]'`$"):
        read_pixels(path)


def test_a_missing_decoder_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "imagecodecs", None)
    with pytest.raises(ImageError, match=r"reading compressed DICOM needs a further library; run `pip install 'msde\["):
        read_pixels(pydicom_file("JPGExtended.dcm"))


@pytest.mark.parametrize("name", [name for name in medical_files() if name.endswith(".dcm")])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated_files_are_refused_without_a_word_about_the_patient(keep, name: str, share: float, caplog) -> None:
    data = medical_files()[name]
    path = keep(data[: int(len(data) * share)])
    with pytest.raises(ImageError) as error:
        read_pixels(f"{path}#002" if name == "frames.dcm" else path)
    said = str(error.value) + caplog.text
    assert not any(secret in said for value in SECRETS.values() for secret in value.split("^"))
