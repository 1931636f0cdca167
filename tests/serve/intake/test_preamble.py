"""What stands before the first boundary of a multipart body."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from msde.serve.intake.preamble import Preamble

PARTS = b"--xyz\r\n\r\none\r\n--xyz\r\n\r\ntwo\r\n--xyz--\r\n"
fragments = st.lists(st.sampled_from([b"--xy", b"--", b"\r\n", b"\n", b"text", b"-", b" --xyz"])).map(b"".join)


@given(fragments, st.lists(st.integers(0, 200)))
def test_it_is_dropped_however_the_body_is_cut(before, cuts):
    body = (before + b"\r\n" if before else b"") + PARTS
    edges = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    preamble = Preamble(b"xyz")
    blocks = [preamble.drop(body[start:end]) for start, end in itertools.pairwise(edges)]
    first = (b"\n" + body).index(b"\n--xyz")
    assert b"".join(blocks) == body[first:]


@given(st.binary(max_size=300))
def test_a_body_without_the_boundary_is_nothing(body):
    assert Preamble(b"a boundary that is not in it").drop(body) == b""
