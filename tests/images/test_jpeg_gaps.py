"""JPEG that goes on to its end and has lost a part: no decoder says so."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from msde.errors import ImageError
from msde.images import find_images, read_pixels
from msde.images.jpeg_gaps import has_gap

from .pictures import gray_ramp, rgb_ramp
from .syntaxes import encapsulated, stream

GRAY, COLOUR = gray_ramp(96, 83), rgb_ramp(96, 83)
FEW, MANY = np.full((64, 64), 128, np.uint8), gray_ramp(96, 83).astype(np.uint16) * 257
_JPEG = "1.2.840.10008.1.2.4."


def packed(values: NDArray[np.uint8], **options: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(values).save(file, "JPEG", quality=92, **options)
    return file.getvalue()


STREAMS = {
    "gray": packed(GRAY),
    "optimal tables": packed(GRAY, optimize=True),
    "colour": packed(COLOUR),
    "colour in full": packed(COLOUR, subsampling=0),
    "restarts by row": packed(GRAY, restart_marker_rows=1),
    "restarts by block": packed(COLOUR, restart_marker_blocks=5),
    "progressive": packed(COLOUR, progressive=True),
    "12 bit": stream(f"{_JPEG}51", GRAY.astype(np.uint16) * 16, 12),
    "lossless": stream(f"{_JPEG}70", GRAY),
    "lossless, 16 bit": stream(f"{_JPEG}57", MANY, 16),
    "middle gray": packed(FEW),
    "middle gray, lossless": stream(f"{_JPEG}70", FEW),
}


def scan(data: bytes) -> tuple[int, int]:
    """Give where the last scan begins, header excluded, and where it ends."""
    at = data.rfind(b"\xff\xda")
    return at + 2 + int.from_bytes(data[at + 2 : at + 4], "big"), data.rfind(b"\xff\xd9")


def decoded(data: bytes) -> NDArray[Any]:
    values: NDArray[Any] = imagecodecs.jpeg8_decode(data)
    return values


def is_told(data: bytes) -> bool:
    """Tell whether a gap is found, where the decoder itself has not refused it."""
    try:
        values = decoded(data)
    except imagecodecs.Jpeg8Error:
        return True
    return has_gap(data, values, decoded)


@pytest.mark.parametrize("kind", STREAMS)
def test_a_whole_stream_has_none(kind: str) -> None:
    assert not has_gap(STREAMS[kind], decoded(STREAMS[kind]), decoded)


@pytest.mark.parametrize("kind", [kind for kind in STREAMS if kind != "middle gray, lossless"])
@given(st.floats(0, 0.8), st.booleans())
def test_what_is_lost_up_to_the_end_is_told(kind: str, share: float, filled: bool) -> None:
    data = STREAMS[kind]
    begin, end = scan(data)
    at = begin + int((end - begin) * share)
    cut = data[:at] + (b"\xff" if filled else b"") + data[end:]
    assert is_told(cut)


@pytest.mark.parametrize("kind", ["gray", "12 bit", "lossless", "lossless, 16 bit", "restarts by row"])
def test_what_is_lost_in_between_is_told(kind: str) -> None:
    data = STREAMS[kind]
    begin, end = scan(data)
    for at in range(begin + 20, end - (end - begin) // 4, (end - begin) // 20):
        holed = data[:at] + data[at + (end - begin) // 8 :]
        assert is_told(holed), at


def test_lost_restarts_are_missed_where_the_data_between_them_are_whole() -> None:
    data = STREAMS["restarts by row"]
    begin, end = data.find(b"\xff\xd1"), data.find(b"\xff\xd4")
    for holed in (data[:begin] + data[end:], data[:begin] + data[data.rfind(b"\xff\xd9") :]):
        assert is_told(holed)


def test_the_picture_may_lie_in_any_file(tmp_path: Path) -> None:
    data = STREAMS["gray"]
    begin, end = scan(data)
    for number, stream_ in enumerate((data, data[: (begin + end) // 2] + data[end:])):
        (tmp_path / f"{number}.jpg").write_bytes(stream_)
        (tmp_path / f"{number}.dcm").write_bytes(encapsulated([stream_], f"{_JPEG}50", GRAY))
        tifffile.imwrite(
            tmp_path / f"{number}.tif", iter([stream_]), shape=GRAY.shape, dtype=np.uint8, compression="jpeg"
        )
    for name in ("jpg", "dcm", "tif"):
        np.testing.assert_allclose(read_pixels(tmp_path / f"0.{name}"), decoded(data) / 255, atol=1e-6)
        with pytest.raises(ImageError, match=rf"1\.{name}.+lacks a part"):
            read_pixels(next(iter(find_images([tmp_path / f"1.{name}"]))))
