from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from msde.images.thumbnail import Thumbnail


def decoded(thumbnail):
    kind, _, content = thumbnail.uri.partition(",")
    assert kind == "data:image/webp;base64"
    return Image.open(BytesIO(b64decode(content, validate=True)))


@given(st.integers(8, 300), st.integers(8, 300), st.sampled_from([(), (3,)]), st.booleans())
def test_the_longer_side_is_bounded_and_small_pictures_keep_their_size(height, width, channels, eight_bits):
    pixels = np.full(
        (height, width, *channels), 200 if eight_bits else 200 / 255, np.uint8 if eight_bits else np.float32
    )
    thumbnail = Thumbnail.of(pixels, 160)
    picture = decoded(thumbnail)
    assert picture.size == (thumbnail.width, thumbnail.height)
    if max(height, width) <= 160:
        assert picture.size == (width, height)
    else:
        assert max(picture.size) == 160
        assert picture.width / picture.height == pytest.approx(width / height, rel=0.2)
    assert np.abs(np.asarray(picture).astype(int) - 200).max() <= 3


def test_a_thumbnail_holds_nothing_but_pixels(rng):
    picture = decoded(Thumbnail.of(rng.uniform(size=(64, 64)), 32))
    picture.load()
    assert not picture.getexif()
    assert "icc_profile" not in picture.info
    assert "xmp" not in picture.info
