"""The files of a form, as the bytes come in."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serve.conftest import png

from msde.serve.errors import ServiceError, TooLarge
from msde.serve.intake.form import Form

TYPE = "multipart/form-data; boundary=x"


def form(*parts: tuple[str, bytes], end: bytes = b"--x--\r\n") -> bytes:
    heads = (f'--x\r\nContent-Disposition: form-data; name="files"{name}\r\n\r\n'.encode() for name, _ in parts)
    return b"".join(head + content + b"\r\n" for head, (_, content) in zip(heads, parts, strict=True)) + end


@pytest.mark.slow
def test_one_file_is_open_at_a_time_and_in_the_folder_given(tmp_path):
    body = form(*((f'; filename="{number}.png"', b"x" * 5000) for number in range(200)))
    most = 0
    with Form(TYPE, tmp_path, 500) as reading:
        for at in range(0, len(body), 1000):
            reading.feed(body[at : at + 1000])
            targets = (os.path.realpath(link) for link in Path("/proc/self/fd").iterdir())
            most = max(most, sum(target.startswith(str(tmp_path)) for target in targets))
        files = reading.files()
    assert most == 1
    assert [name for name, _ in files] == [f"{number}.png" for number in range(200)]
    assert {path.parent for _, path in files} == {tmp_path}
    assert {path.read_bytes() for _, path in files} == {b"x" * 5000}


@given(
    st.lists(st.tuples(st.booleans(), st.binary(max_size=300)), min_size=1, max_size=6),
    st.lists(st.integers(1, 50), min_size=1),
)
def test_files_come_out_as_they_went_in_however_the_body_is_cut(tmp_path_factory, parts, lengths):
    parts = [(is_file, content.replace(b"--x", b"")) for is_file, content in parts]
    body = form(*(('; filename="a"' if is_file else "", content) for is_file, content in parts))
    with Form(TYPE, tmp_path_factory.mktemp("form"), 100) as reading:
        turn = 0
        while body:
            length = lengths[turn % len(lengths)]
            reading.feed(body[:length])
            body, turn = body[length:], turn + 1
        expected = [content for is_file, content in parts if is_file]
        if expected:
            assert [path.read_bytes() for _, path in reading.files()] == expected
        else:
            with pytest.raises(ServiceError, match="holds no file"):
                reading.files()


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (form(*[('; filename="a"', b"")] * 6), TooLarge, "limit of 5 files"),
        (form(*[("", b"")] * 101), TooLarge, "no files"),
        (form((f'; filename="{"a" * 20_000}"', b"")), ServiceError, "damaged"),
        (form(('; filename="a"', b"abc"), end=b""), ServiceError, "no end"),
        (b"--x\r\nno header\r\n", ServiceError, "damaged"),
        (b"", ServiceError, "no end"),
    ],
)
def test_what_cannot_be_read_is_refused(body, kind, message, tmp_path):
    with Form(TYPE, tmp_path, 5) as reading, pytest.raises(kind, match=message):
        reading.feed(body)
        reading.files()


def test_the_service_writes_them_below_its_data_alone(serve, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with serve() as served:
        large = png(1) + bytes(3_000_000)
        sent = {"files": [("a.png", large), ("b.png", png(2))]}
        answer = served.client.post("/api/images", files=[("files", file) for file in sent["files"]])
        assert [image["name"] for image in answer.json()["images"]] == ["a.png", "b.png"]
        assert list(served.service.store.incoming.iterdir()) == []
