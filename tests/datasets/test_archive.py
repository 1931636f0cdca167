"""Archives are unpacked whole or not at all, and never outside of their folder."""

import io
import stat
import tarfile
import zipfile

import pytest

from msde.datasets.archive import unpack
from msde.errors import DataError


def tar(path, *names, kind=tarfile.REGTYPE, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            entry.size = 4 if kind == tarfile.REGTYPE else 0
            archive.addfile(entry, io.BytesIO(b"data") if entry.size else None)
    return path


def zipped(path, *names, mode=stat.S_IFREG):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.external_attr = (mode | 0o644) << 16
            archive.writestr(info, b"data")
    return path


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_folder_that_an_archive_holds(tmp_path):
    unpack([tar(tmp_path / "RSNA.tar.gz", "./RSNA/data.json", "RSNA/images/ä.png")], tmp_path, "RSNA")
    assert files(tmp_path / "RSNA") == ["data.json", "images/ä.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["RSNA", "RSNA.tar.gz"]


def test_several_archives_go_into_one_folder(tmp_path):
    archives = [zipped(tmp_path / "a.zip", "A_Input/", "A_Input/1.jpg"), zipped(tmp_path / "b.zip", "A_Truth/t.csv")]
    unpack(archives, tmp_path, "A")
    assert files(tmp_path / "A") == ["A_Input/1.jpg", "A_Truth/t.csv"]


@pytest.mark.parametrize(
    "make",
    [
        lambda path: tar(path, "ok.png", "../out.png"),
        lambda path: tar(path, "/out.png"),
        lambda path: tar(path, "S/link", kind=tarfile.SYMTYPE),
        lambda path: tar(path, "S/link", kind=tarfile.LNKTYPE),
        lambda path: tar(path, "S/device", kind=tarfile.CHRTYPE),
        lambda path: tar(path, "S/pipe", kind=tarfile.FIFOTYPE),
        lambda path: zipped(path, "S/../../out.png"),
        lambda path: zipped(path, "S\\..\\out.png"),
        lambda path: zipped(path, "S/link", mode=stat.S_IFLNK),
        lambda path: zipped(path, "."),
        lambda path: tar(path, "."),
    ],
)
def test_what_leads_elsewhere_is_refused(tmp_path, make):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match="a link or a path that leads elsewhere"):
        unpack([make(folder / "S.archive")], folder, "S")
    assert files(tmp_path) == ["a/b/S.archive"]


@pytest.mark.parametrize("limit", ["MAX_FILES", "MAX_BYTES"])
def test_too_much_is_refused(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(f"msde.datasets.archive.{limit}", 2)
    with pytest.raises(DataError, match="unpack it by hand"):
        unpack([tar(tmp_path / "S.tar", "S/1", "S/2", "S/3", mode="w")], tmp_path, "S")
    assert files(tmp_path) == ["S.tar"]


@pytest.mark.parametrize("make", [tar, zipped])
def test_a_damaged_archive_leaves_nothing(tmp_path, make):
    path = make(tmp_path / "S.archive", *(f"S/{number}.png" for number in range(50)))
    raw = bytearray(path.read_bytes())
    raw[60:90] = bytes(30)
    path.write_bytes(bytes(raw))
    with pytest.raises(DataError, match="damaged archive") as error:
        unpack([path], tmp_path, "S")
    assert "\n" not in str(error.value)
    assert files(tmp_path) == ["S.archive"]


def test_two_members_of_one_name(tmp_path):
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack([tar(tmp_path / "S.tar", "S/1", "S/1", mode="w")], tmp_path, "S")
