from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from msde.images.codestream import stated_size

from .pictures import encoded, gray_ramp, rgb_ramp


@pytest.mark.parametrize(
    "stream",
    [
        encoded(Image.fromarray(gray_ramp()), "JPEG"),
        encoded(Image.fromarray(rgb_ramp()), "JPEG", progressive=True),
        encoded(Image.fromarray(rgb_ramp()), "JPEG2000"),
        encoded(Image.fromarray(rgb_ramp()), "JPEG2000", no_jp2=True),
    ],
)
def test_the_size_stands_in_the_header(stream: bytes) -> None:
    assert stated_size(stream) == (20, 24)


@pytest.mark.parametrize(
    "stream", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\x00" * 100, encoded(Image.fromarray(gray_ramp()), "PNG")]
)
def test_other_streams_say_nothing(stream: bytes) -> None:
    assert stated_size(stream) is None


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "]))
def test_any_bytes_are_survived(data: bytes, start: bytes) -> None:
    size = stated_size(start + data)
    assert size is None or min(size) >= 0
