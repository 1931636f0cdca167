import errno
import os

import pytest
from tests.requirements import need

from msde.errors import OutputError, WeightsFileError
from msde.pretrain.tensorfile import read_tensors, write_tensors

need("torch")
import torch  # noqa: E402

pytestmark = pytest.mark.torch


def test_round_trip(tmp_path):
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}
    write_tensors(tmp_path / "t.safetensors", tensors, {"step": 4, "story": {"α": [1.5]}})
    found, facts = read_tensors(tmp_path / "t.safetensors")
    assert facts == {"step": 4, "story": {"α": [1.5]}}
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert os.listdir(tmp_path) == ["t.safetensors"]


def test_the_same_tensors_give_the_same_bytes(tmp_path):
    tensor = torch.rand(2, 3, 4, 4)
    write_tensors(tmp_path / "a", {"t": tensor}, {"x": 1})
    write_tensors(tmp_path / "b", {"t": tensor.to(memory_format=torch.channels_last)}, {"x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_full_disk_is_told_and_the_old_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "t.safetensors"
    write_tensors(path, {"a": torch.zeros(2)}, {})
    old = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"t\.safetensors: cannot be written: No space left on device"):
        write_tensors(path, {"a": torch.ones(2)}, {})
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["t.safetensors"]


def test_what_the_library_says_of_a_full_disk_is_told(tmp_path):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"t\.safetensors: cannot be written: .*File too large"):
            write_tensors(tmp_path / "t.safetensors", {"a": torch.ones(20_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"no tensors at all, but long enough"])
def test_damaged_files_are_named(tmp_path, content):
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(WeightsFileError, match=r"bad: cannot be read .* delete it"):
        read_tensors(tmp_path / "bad")


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(OutputError, match="no/t: cannot be written: No such file"):
        write_tensors(tmp_path / "no" / "t", {}, {})
