from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.serve.errors import ServiceError, TooLarge, Unsupported
from msde.serve.pacs.multipart import Parts
from msde.serve.pacs.settings import StowSettings

KIND = 'multipart/related; type="application/dicom"; boundary=XyZ'
# Likely to look like a boundary, or a piece of one.
CONTENT = st.lists(
    st.sampled_from([b"\r\n", b"--", b"XyZ", b"\r\n--Xy", b"\0", b"-", b"\r", b"data"]), max_size=12
).map(b"".join)


def encoded(contents: list[bytes], header: bytes = b"Content-Type: application/dicom") -> bytes:
    return b"".join(b"--XyZ\r\n" + header + b"\r\n\r\n" + one + b"\r\n" for one in contents) + b"--XyZ--\r\n"


def read(body: bytes, cuts: list[int], limits: StowSettings, kind: str = KIND) -> list[bytes]:
    parts = Parts(kind, limits)
    places = [0, *sorted({min(cut, len(body)) for cut in cuts}), len(body)]
    found = [part for start, end in itertools.pairwise(places) for part in parts.feed(body[start:end])]
    parts.close()
    return found


@given(
    st.lists(CONTENT.filter(lambda one: b"\r\n--XyZ" not in b"\r\n" + one), min_size=1), st.lists(st.integers(0, 400))
)
def test_parts_come_out_as_they_went_in_however_the_body_is_cut(contents: list[bytes], cuts: list[int]) -> None:
    assert read(encoded(contents), cuts, StowSettings()) == contents


@given(CONTENT.filter(lambda one: b"\n--XyZ" not in b"\n" + one + b"\r\n"), st.lists(st.integers(0, 400)))
def test_what_stands_before_the_first_part_is_passed_over(preamble: bytes, cuts: list[int]) -> None:
    assert read(preamble + b"\r\n" + encoded([b"one", b"two"]), cuts, StowSettings()) == [b"one", b"two"]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_any_other_body_is_refused(body: bytes, cuts: list[int]) -> None:
    with pytest.raises(ServiceError):
        read(body, cuts, StowSettings())


@given(st.integers(1, 150))
def test_a_body_that_ends_early_is_refused(missing: int) -> None:
    body = encoded([b"one", b"two"]).removesuffix(b"--\r\n")
    with pytest.raises(ServiceError, match="send it again"):
        read(body[:-missing], [], StowSettings())


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("multipart/form-data; boundary=XyZ", Unsupported),
        ('multipart/related; type="image/jpeg"; boundary=XyZ', Unsupported),
        ("multipart/related", Unsupported),
        ("", Unsupported),
        (f"multipart/related; boundary={'x' * 5000}", Unsupported),
    ],
)
def test_another_kind_of_body_is_refused(kind: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        Parts(kind, StowSettings())


def test_limits_are_kept() -> None:
    limits = StowSettings(instances=2, instance_megabytes=1)
    assert len(read(encoded([b"a" * 1_000_000] * 2), [], limits)) == 2
    with pytest.raises(TooLarge, match="bytes in an object"):
        read(encoded([b"a" * 1_000_001]), [500_000], limits)
    with pytest.raises(TooLarge, match="objects in a request"):
        read(encoded([b"a"] * 3), [], limits)
    with pytest.raises(ServiceError):
        read(encoded([b"a"], b"X: " + b"y" * 100_000), [], limits)
    with pytest.raises(Unsupported):
        read(encoded([b"a"], b"Content-Type: image/jpeg"), [], limits)
