"""Downloads over a real server: whole, broken off, resumed, wrong."""

import hashlib
from contextlib import contextmanager

import numpy as np
import pytest

from msde.datasets import download as downloads
from msde.datasets.download import MEGABYTE, download
from msde.errors import DataError

RAW = np.random.default_rng(8).bytes(3 * MEGABYTE + 17)
MD5 = hashlib.md5(RAW, usedforsecurity=False).hexdigest()


@pytest.fixture
def url(server):
    (server.folder / "set.tar.gz").write_bytes(RAW)
    return f"{server.url}/set.tar.gz"


def test_a_file_arrives_whole_with_a_step_a_megabyte(url, tmp_path):
    seen: list[object] = []

    @contextmanager
    def progress(label, steps):
        seen.append((label, steps))
        yield lambda: seen.append("tick")

    download(url, tmp_path / "set.tar.gz", MD5, progress)
    assert (tmp_path / "set.tar.gz").read_bytes() == RAW
    assert seen == [("Downloading set.tar.gz", 4), *["tick"] * 4]
    assert not list(tmp_path.glob("*.part"))


def test_what_is_there_already_is_not_asked_for(url, server, tmp_path):
    (tmp_path / "set.tar.gz").write_bytes(RAW)
    download(url, tmp_path / "set.tar.gz", MD5)
    assert server.asked == []


def test_a_broken_connection_is_taken_up_where_it_stopped(url, server, tmp_path):
    server.cuts = [MEGABYTE + 5, 100]
    download(url, tmp_path / "set.tar.gz", MD5)
    assert (tmp_path / "set.tar.gz").read_bytes() == RAW
    assert server.asked == [None, f"bytes={MEGABYTE + 5}-", f"bytes={MEGABYTE + 105}-"]


def test_a_later_call_goes_on(url, server, tmp_path):
    server.cuts = [1000, 0]
    with pytest.raises(DataError, match="cannot be reached \\(the connection broke\\)"):
        download(url, tmp_path / "set.tar.gz", MD5)
    assert (tmp_path / "set.tar.gz.part").stat().st_size == 1000
    download(url, tmp_path / "set.tar.gz", MD5)
    assert (tmp_path / "set.tar.gz").read_bytes() == RAW
    assert server.asked[-1] == "bytes=1000-"


def test_a_server_without_ranges_starts_again(url, server, tmp_path):
    (tmp_path / "set.tar.gz.part").write_bytes(RAW[:500])
    server.ranges = False
    download(url, tmp_path / "set.tar.gz", MD5)
    assert (tmp_path / "set.tar.gz").read_bytes() == RAW


@pytest.mark.parametrize("left", [RAW, RAW + b"more"])
def test_a_rest_that_is_too_long_is_dropped(url, tmp_path, left):
    (tmp_path / "set.tar.gz.part").write_bytes(left)
    download(url, tmp_path / "set.tar.gz", MD5)
    assert (tmp_path / "set.tar.gz").read_bytes() == RAW


def test_another_file_is_refused_and_not_kept(url, tmp_path):
    with pytest.raises(DataError, match="not the published file"):
        download(url, tmp_path / "set.tar.gz", "0" * 32)
    assert not list(tmp_path.glob("set*"))
    (tmp_path / "set.tar.gz").write_bytes(b"another")
    with pytest.raises(DataError, match="set.tar.gz: is not the published file .* remove it"):
        download(url, tmp_path / "set.tar.gz", MD5)
    assert (tmp_path / "set.tar.gz").read_bytes() == b"another"


def test_without_a_checksum_the_size_has_to_do(url, tmp_path):
    download(url, tmp_path / "set.tar.gz", None)
    assert (tmp_path / "set.tar.gz").read_bytes() == RAW


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("{}/gone.tar.gz", "answers 404"),
        ("http://127.0.0.1:9/set.tar.gz", "cannot be reached .*; check the network, or put set.tar.gz into"),
        ("http://example.org/set.tar.gz", "is no https address"),
        ("file:///etc/hostname", "is no https address"),
    ],
)
def test_what_cannot_be_had_is_said_in_a_line(server, tmp_path, address, said):
    with pytest.raises(DataError, match=said) as error:
        download(address.format(server.url), tmp_path / "set.tar.gz", MD5)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("set*"))


def test_being_sent_on_to_plain_http_is_refused(url, server, tmp_path):
    server.elsewhere = "file:///etc/hostname"
    with pytest.raises(DataError):
        download(url, tmp_path / "set.tar.gz", MD5)
    assert not list(tmp_path.glob("set*"))


def test_a_file_that_cannot_be_written_is_no_matter_of_the_network(url, tmp_path):
    (tmp_path / "set.tar.gz.part").mkdir()
    with pytest.raises(IsADirectoryError):
        download(url, tmp_path / "set.tar.gz", MD5)


def test_limits_hold_before_anything_is_written(url, server, tmp_path, monkeypatch):
    server.sized = False
    with pytest.raises(DataError, match="does not state the file's size"):
        download(url, tmp_path / "set.tar.gz", MD5)
    server.sized = True
    monkeypatch.setattr(downloads, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="over the limit of 1,000"):
        download(url, tmp_path / "set.tar.gz", MD5)
    assert not list(tmp_path.glob("set*"))
