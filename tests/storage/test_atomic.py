import os

import pytest

from msde.errors import ModelFileError, OutputError
from msde.storage.atomic import check_writable, make_folder, umask, writing
from msde.storage.digests import digest_of


def test_a_file_appears_when_all_is_written(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with writing(path) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask()
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(("keep", "n_left"), [(False, 1), (True, 2)])
def test_an_interruption_leaves_the_old_file_and_what_is_to_be_kept(tmp_path, keep, n_left):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), writing(path, keep=keep) as unfinished:
        unfinished.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert len(os.listdir(tmp_path)) == n_left


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "a.txt")
    with writing(tmp_path / "link") as unfinished:
        unfinished.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize("error", [OutputError, ModelFileError])
@pytest.mark.parametrize("place", ["missing/a.txt", "folder"])
def test_a_place_that_cannot_be_written_is_named_by_both(tmp_path, error, place):
    (tmp_path / "folder").mkdir()
    with pytest.raises(error, match=f"{place}: cannot be written: .*; make room or choose another place"):
        check_writable(tmp_path / place, error)
    with pytest.raises(error, match=f"{place}: cannot be written: "), writing(tmp_path / place, error):
        raise AssertionError("nothing is handed out")


def test_what_is_no_regular_file_is_no_place(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="pipe: cannot be written: Not a regular file"):
        check_writable(tmp_path / "pipe")


def test_a_folder_is_made_and_one_that_cannot_be_is_named(tmp_path):
    assert os.listdir(make_folder(tmp_path / "a" / "b")) == []
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file/a: cannot be written"):
        make_folder(tmp_path / "file" / "a")


def test_digests_are_those_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert digest_of(tmp_path / "a").startswith("ba7816bf")
    assert digest_of(tmp_path / "a", "md5").startswith("90015098")


def test_reading_the_umask_opens_nothing_to_others_meanwhile(monkeypatch):
    set_to: list[int] = []
    mask, really = umask(), os.umask

    def noting(new: int) -> int:
        set_to.append(new)
        return really(new)

    monkeypatch.setattr(os, "umask", noting)
    assert umask() == mask
    assert set_to[-1] == mask
    assert all(new & 0o077 == 0o077 for new in set_to[:-1])
