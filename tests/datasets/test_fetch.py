"""A set is fetched from a real server, unpacked and read."""

import hashlib
import tarfile
import zipfile

import pytest
from tests.datasets import layouts

from msde.datasets.catalog import Archive, CatalogEntry
from msde.datasets.fetch import fetch_set, find_known
from msde.errors import DataError


def known(name, *archives, into=None):
    listed = tuple(
        Archive(f"https://example.org/{path.name}", hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest())
        for path in archives
    )
    return CatalogEntry(name, listed, into or name, "none")


def test_a_set_is_fetched_once(tmp_path, server):
    layouts.data_json(tmp_path / "RSNA")
    with tarfile.open(server.folder / "RSNA.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "RSNA", "RSNA")
    rsna = known("RSNA", server.folder / "RSNA.tar.gz")
    said = fetch_set(rsna, tmp_path / "new", server.url)
    assert said == f"{tmp_path / 'new' / 'RSNA'}: 4 images to train on, 3 normal and 2 abnormal"
    assert fetch_set(rsna, tmp_path / "new", server.url) == said
    assert len(server.asked) == 1


def test_several_archives_make_one_set(tmp_path, server):
    root = layouts.isic(tmp_path / "source")
    for folder in sorted(root.iterdir()):
        with zipfile.ZipFile(server.folder / f"{folder.name}.zip", "w") as archive:
            for path in sorted(folder.iterdir()):
                archive.write(path, f"{folder.name}/{path.name}")
    isic = known("ISIC2018_Task3", *sorted(server.folder.iterdir()))
    assert fetch_set(isic, tmp_path, server.url).endswith("4 images to train on, 3 normal and 2 abnormal")


def test_an_archive_that_was_put_there_by_hand_is_used(tmp_path, server):
    path = layouts.medmnist(tmp_path / "octmnist_64.npz", labels=(3, 3, 0))
    octmnist = known("octmnist_64", path, into="octmnist_64.npz")
    assert fetch_set(octmnist, tmp_path, server.url).endswith("2 images to train on, 2 normal and 1 abnormal")
    assert server.asked == []


def test_a_file_without_a_known_normal_class_is_fetched_all_the_same(tmp_path, server):
    path = layouts.medmnist(server.folder / "bloodmnist.npz")
    said = fetch_set(known("bloodmnist", path, into="bloodmnist.npz"), tmp_path, server.url)
    assert said.endswith("bloodmnist.npz: its normal classes have to be named by --normal")


def test_an_archive_of_something_else_is_told(tmp_path, server):
    (server.folder / "RSNA.tar.gz").write_bytes(b"something else")
    with pytest.raises(DataError, match="damaged archive"):
        fetch_set(known("RSNA", server.folder / "RSNA.tar.gz"), tmp_path / "new", server.url)


def test_a_folder_that_cannot_be_written(tmp_path, server):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be written"):
        fetch_set(known("RSNA"), tmp_path / "file" / "new", server.url)


def test_names_are_found_in_any_case():
    assert find_known("rsna").name == "RSNA"
    assert find_known("OCTMNIST_224").name == "octmnist_224"
    with pytest.raises(DataError, match="unknown data set 'MVTec'; known are RSNA, VinCXR, .* also with _64"):
        find_known("MVTec")
