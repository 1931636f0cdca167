"""A stream that ends early is damaged, in every format and syntax: no decoder may fill in what is missing."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.encaps import encapsulate

from msde.errors import ImageError
from msde.images import read_pixels
from msde.images.codestream import is_whole
from msde.images.ending import has_end

from .medical import dicom_dataset, nifti_bytes, saved
from .pictures import gray_ramp, rgb_ramp, small_files
from .syntaxes import ENCODERS, NAMES, RLE, encapsulated, stream, writes, written

TWELVE = gray_ramp(40, 32).astype(np.uint16) * 16
PICTURES: dict[str, tuple[NDArray[Any], int]] = {
    "8": (gray_ramp(40, 32), 8),
    "12": (TWELVE, 12),
    "16": (TWELVE * 16, 16),
    "rgb": (rgb_ramp(40, 32), 8),
}
EARLY = r"damaged or truncated DICOM image \(.*ends early\)"
CODED = [
    (syntax, kind) for syntax in ENCODERS for kind, (values, bits) in PICTURES.items() if writes(syntax, values, bits)
]


@pytest.fixture
def keep(tmp_path: Path):
    def write(data: bytes, name: str = "scan.dcm") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


@pytest.mark.slow
@pytest.mark.parametrize(("syntax", "kind"), CODED, ids=lambda value: NAMES.get(value, value))
def test_a_stream_cut_in_an_otherwise_whole_file_is_refused(keep, syntax: str, kind: str) -> None:
    values, bits = PICTURES[kind]
    coded = stream(syntax, values, bits)
    elements: dict[str, Any] = {"BitsStored": bits, "HighBit": bits - 1}
    read_pixels(keep(encapsulated([coded], syntax, values, **elements)))
    for share in np.linspace(0.03, 0.97, 20):
        cut = keep(encapsulated([coded[: int(len(coded) * share)]], syntax, values, **elements))
        with pytest.raises(ImageError, match=r"scan\.dcm: damaged or truncated DICOM image \(.+\); copy"):
            read_pixels(cut)
    if syntax != RLE:  # whose decoder may notice first
        with pytest.raises(ImageError, match=EARLY):
            read_pixels(keep(encapsulated([coded[: len(coded) // 2]], syntax, values, **elements)))


@pytest.mark.slow
@pytest.mark.parametrize("syntax", NAMES, ids=NAMES.get)
def test_a_file_cut_anywhere_is_refused(keep, syntax: str) -> None:
    values, bits = PICTURES["12" if syntax.endswith(".51") else "8"]
    data = written(values, syntax, bits)
    for share in np.linspace(0.05, 0.999, 20):
        with pytest.raises(ImageError, match=r"scan\.dcm: .+; .+"):
            read_pixels(keep(data[: int(len(data) * share)]))


@pytest.mark.parametrize("table", ["none", "basic", "extended"])
@pytest.mark.parametrize("pieces", [1, 3])
def test_frames_are_found_with_and_without_tables_and_in_pieces(keep, table: str, pieces: int) -> None:
    if pieces > 1 and table == "extended":
        pytest.skip("an extended table is allowed for frames in one piece only")
    pictures = [np.roll(gray_ramp(40, 32), 3 * k, axis=0) for k in range(4)]
    syntax = "1.2.840.10008.1.2.4.80"
    streams = [stream(syntax, picture) for picture in pictures]
    if pieces == 1:
        data = encapsulated(streams, syntax, pictures[0], table=table)
    else:
        dataset = dicom_dataset(pictures[0], syntax, NumberOfFrames=4)
        dataset.PixelData = encapsulate(streams, fragments_per_frame=pieces, has_bot=table == "basic")
        dataset["PixelData"].VR = "OB"
        data = saved(dataset)
    path = keep(data)
    for k, picture in enumerate(pictures):
        np.testing.assert_array_equal(read_pixels(f"{path}#{k:03}"), read_pixels(picture))
    cut = keep(data[: len(data) * 2 // 3], "cut.dcm")
    for k in range(4):
        with pytest.raises(ImageError, match="ends early"):
            read_pixels(f"{cut}#{k:03}")


def test_a_table_of_frames_that_does_not_fit_is_passed_over(keep) -> None:
    pictures = [gray_ramp(40, 32), gray_ramp(40, 32)[::-1]]
    streams = [stream(RLE, picture) for picture in pictures]
    data = bytearray(encapsulated(streams, RLE, pictures[0], table="basic"))
    at = data.index(b"\xfe\xff\x00\xe0\x08\x00\x00\x00") + 8
    data[at : at + 8] = bytes(8)  # both frames at the first
    path = keep(bytes(data))
    for k, picture in enumerate(pictures):
        np.testing.assert_array_equal(read_pixels(f"{path}#{k:03}"), read_pixels(picture))


def test_more_frames_stated_than_there_are(keep) -> None:
    streams = [stream(RLE, gray_ramp(40, 32))] * 2
    path = keep(encapsulated(streams, RLE, gray_ramp(40, 32)))
    assert read_pixels(f"{path}#001").shape == (40, 32)
    path.write_bytes(path.read_bytes().replace(b"IS\x02\x002 ", b"IS\x02\x003 "))
    assert read_pixels(f"{path}#001").shape == (40, 32)
    with pytest.raises(ImageError, match="fewer frames than its header states"):
        read_pixels(f"{path}#002")


@pytest.mark.parametrize("name", small_files())
def test_the_end_of_a_file_is_told(name: str) -> None:
    data = small_files()[name]
    form = {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000", "pgm": "PPM"}.get(name[-3:], name.split(".")[-1].upper())

    for end, whole in ((len(data), True), (len(data) - 1, False)):
        with tempfile.TemporaryFile() as file:
            file.write(data[:end])
            file.seek(5)
            assert has_end(file, form) == (whole or form in ("TIFF", "BMP", "PPM"))
            assert file.tell() == 5


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "]))
def test_any_bytes_are_survived(data: bytes, start: bytes) -> None:
    assert is_whole(start + data) in (True, False)


def test_what_follows_the_end_of_a_jpeg_is_no_matter(keep) -> None:
    data = small_files()["gray.jpg"]
    np.testing.assert_array_equal(read_pixels(keep(data + b"more" * 9, "a.jpg")), read_pixels(keep(data, "b.jpg")))


def test_a_thumbnail_is_not_the_end_of_its_jpeg(keep) -> None:
    data = small_files()["gray.jpg"]
    with_thumbnail = data[:2] + b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data + data[2:]
    np.testing.assert_array_equal(read_pixels(keep(with_thumbnail, "a.jpg")), read_pixels(keep(data, "b.jpg")))
    with pytest.raises(ImageError, match="ends early"):
        read_pixels(keep(with_thumbnail[:-2], "c.jpg"))


@pytest.mark.parametrize("at", [-8, -6, -1])
def test_a_packed_volume_with_a_wrong_checksum_or_length_is_refused(keep, at: int) -> None:
    volume = np.stack([gray_ramp()] * 9, axis=2)
    data = bytearray(nifti_bytes(volume, packed=True))
    assert gzip.decompress(bytes(data))
    data[at] ^= 1
    with pytest.raises(ImageError, match=r"v\.nii\.gz#000: .*damaged|v\.nii\.gz: damaged"):
        read_pixels(f"{keep(bytes(data), 'v.nii.gz')}#000")
