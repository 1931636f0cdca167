import errno
import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from msde.errors import ModelFileError
from msde.storage.atomic import check_writable
from msde.storage.bundle import FORMAT_VERSION, read_bundle, write_bundle

PARTS: dict[str, dict[str, np.ndarray]] = {
    "one": {"a": np.arange(6.0).reshape(2, 3), "b.c": np.ones(3, np.float32)},
    "two": {"a": np.array([7], np.uint8)},
}
CONFIG = {"mode": "inductive", "threshold": 1.5}


@pytest.fixture
def file(tmp_path):
    write_bundle(tmp_path / "m.msde", PARTS, CONFIG)
    return tmp_path / "m.msde"


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "m.msde"
    write_bundle(path, PARTS, CONFIG)
    return path.read_bytes()


def test_what_was_written_is_read(file):
    config, parts = read_bundle(file)
    assert {**config, "parts": None} == {**CONFIG, "parts": None}
    assert_same(parts)


def assert_same(parts):
    for part, arrays in PARTS.items():
        assert parts[part].keys() == arrays.keys()
        for name, array in arrays.items():
            assert parts[part][name].dtype == array.dtype
            np.testing.assert_array_equal(parts[part][name], array)


def test_any_safetensors_reader_can_look_into_it(file):
    assert sorted(load_file(file)) == ["one/a", "one/b.c", "two/a"]


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"nothing\.msde: no such file") as error:
        read_bundle(tmp_path / "nothing.msde")
    one_line(error)


@pytest.mark.parametrize("other", [b"", b"x", b"PK\x03\x04" + b"\0" * 100, b"\xff" * 4096])
def test_another_file_is_refused(tmp_path, other):
    (tmp_path / "x.msde").write_bytes(other)
    with pytest.raises(ModelFileError, match=r"x\.msde") as error:
        read_bundle(tmp_path / "x.msde")
    one_line(error)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ModelFileError) as error:
        read_bundle(tmp_path)
    one_line(error)


def test_another_safetensors_file_is_refused(tmp_path):
    save_file({"a": np.zeros(3)}, tmp_path / "weights.safetensors")
    with pytest.raises(ModelFileError, match="no msde model"):
        read_bundle(tmp_path / "weights.safetensors")


def test_a_newer_format_asks_for_an_upgrade(tmp_path):
    metadata = {"format": "msde-model", "format_version": str(FORMAT_VERSION + 1), "config": "{}"}
    save_file({"a": np.zeros(3)}, tmp_path / "new.msde", metadata)
    with pytest.raises(ModelFileError, match="upgrade msde"):
        read_bundle(tmp_path / "new.msde")


@given(cut=st.integers(0, 2**31))
def test_a_truncated_file_is_refused(content, tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "m.msde"
    path.write_bytes(content[: cut % len(content)])
    with pytest.raises(ModelFileError) as error:
        read_bundle(path)
    one_line(error)


@pytest.mark.slow
@given(place=st.integers(0, 2**31), bits=st.integers(1, 255))
@settings(max_examples=300)
def test_an_altered_byte_is_found_where_it_would_change_what_is_read(content, tmp_path_factory, place, bits):
    place %= len(content)
    path = tmp_path_factory.mktemp("altered") / "m.msde"
    path.write_bytes(content[:place] + bytes([content[place] ^ bits]) + content[place + 1 :])
    try:
        config, parts = read_bundle(path)
    except ModelFileError as error:
        assert "\n" not in str(error)
    else:  # another kind of blank in the header
        assert {**config, "parts": None} == {**CONFIG, "parts": None}
        assert_same(parts)


@pytest.mark.parametrize(("old", "new"), [(b"]}} ", b"]}}\t"), (b'"format_version":"5"', b'"format_version":"4"')])
def test_what_changes_nothing_is_read(content, tmp_path, old, new):
    assert old in content
    (tmp_path / "m.msde").write_bytes(content.replace(old, new, 1))
    assert_same(read_bundle(tmp_path / "m.msde")[1])


def test_a_full_disk_leaves_the_old_model(file, monkeypatch):
    before = file.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(ModelFileError, match="No space left on device.*old file is unchanged"):
        write_bundle(file, PARTS, {})
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == ["m.msde"]


def test_a_really_full_disk_leaves_the_old_model(tmp_path):
    """Write through a file-size limit, the nearest thing to a full disk that needs no privileges."""
    import subprocess
    import sys

    write_bundle(tmp_path / "m.msde", PARTS, CONFIG)
    before = (tmp_path / "m.msde").read_bytes()
    code = (
        "import resource, signal, sys, numpy as np; from msde.storage.bundle import write_bundle\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_bundle(sys.argv[1], {'one': {'a': np.zeros(10**6)}}, {})"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "m.msde")], capture_output=True, text=True)
    assert "ModelFileError" in done.stderr
    assert (tmp_path / "m.msde").read_bytes() == before
    assert os.listdir(tmp_path) == ["m.msde"]


def test_an_unwritable_place_is_named_before_the_work(tmp_path):
    for path in (tmp_path / "missing" / "m.msde", tmp_path):
        with pytest.raises(ModelFileError, match="cannot be written") as error:
            check_writable(path, ModelFileError)
        one_line(error)
    check_writable(tmp_path / "m.msde")
    assert os.listdir(tmp_path) == []


def test_the_config_is_plain_json(file):
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as opened:
        assert json.loads(opened.metadata()["config"])["mode"] == "inductive"
