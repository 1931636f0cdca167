"""MedMNIST's arrays become named pictures of one normal class against the others."""

import gc
import zipfile

import numpy as np
import pytest
from tests.datasets.layouts import medmnist

from msde.datasets import medmnist as medmnist_files
from msde.datasets import read_dataset
from msde.errors import DataError


def counts(dataset):
    return len(dataset.train), len(dataset.normal), len(dataset.abnormal)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("name", ["pneumoniamnist.npz", "pneumoniamnist_64.npz"])
def test_the_table_says_what_is_normal(tmp_path, name, save):
    path = medmnist(tmp_path / name, save=save)
    dataset = read_dataset(path)
    assert counts(dataset) == (4, 4, 1)
    assert dataset.name == path.stem
    assert dataset.notes[0] == "normal are the labels 0"
    with np.load(path) as arrays:
        assert str(dataset.abnormal[0]) == f"{path}#test_images/1"
        np.testing.assert_array_equal(dataset.abnormal[0], arrays["test_images"][1])


@pytest.mark.slow
def test_pictures_outlive_the_reading(tmp_path):
    train = read_dataset(medmnist(tmp_path / "pneumoniamnist.npz")).train
    gc.collect()
    (tmp_path / "pneumoniamnist.npz").unlink()
    assert all(np.asarray(image).any() for image in train)


def test_a_folder_with_one_file_stands_for_it(tmp_path):
    medmnist(tmp_path / "octmnist.npz", labels=(3, 1, 3, 0, 3), shape=(64, 64, 3))
    dataset = read_dataset(tmp_path)
    assert counts(dataset) == (3, 3, 2)
    assert dataset.name == "octmnist"
    medmnist(tmp_path / "pathmnist.npz")
    with pytest.raises(DataError, match=r"several .npz files \(octmnist.npz, pathmnist.npz\)"):
        read_dataset(tmp_path)


def test_normal_classes_can_be_stated(tmp_path):
    path = medmnist(tmp_path / "bloodmnist.npz", labels=(0, 1, 2, 2, 3))
    with pytest.raises(DataError, match=r"which of its labels \(0, 1, 2, 3\) are normal; name them by --normal"):
        read_dataset(path)
    assert counts(read_dataset(path, normal=["2", "3"])) == (3, 3, 2)
    with pytest.raises(DataError, match=r"no image with a normal label \(7\); its labels are 0, 1, 2, 3"):
        read_dataset(path, normal=["7"])


def test_labels_may_be_words(tmp_path):
    path = medmnist(tmp_path / "own.npz", labels=("healthy", "ill", "healthy", "healthy", "ill"))
    assert counts(read_dataset(path, normal=["healthy"])) == (3, 3, 2)


def test_no_finding_among_many_is_normal(tmp_path):
    labels = np.zeros((5, 14), int)
    labels[1, 3] = labels[4, 0] = labels[4, 13] = 1
    assert counts(read_dataset(medmnist(tmp_path / "chestmnist_224.npz", labels=labels))) == (3, 3, 2)


def test_a_set_of_one_class_has_no_abnormal_images(tmp_path):
    assert counts(read_dataset(medmnist(tmp_path / "pneumoniamnist.npz", labels=(0, 0)))) == (2, 2, 0)


def truncated(path):
    path.write_bytes(path.read_bytes()[:-200])
    return path


def flipped(path):
    raw = bytearray(path.read_bytes())
    raw[200] ^= 0xFF
    path.write_bytes(bytes(raw))
    return path


def without(path, key):
    with np.load(path) as arrays:
        rest = {name: arrays[name] for name in arrays.files if name != key}
    np.savez(path, **rest)
    return path


def with_objects(path):
    np.savez(path, train_images=np.array([{}, {}]), train_labels=np.zeros(2))
    return path


def shorter(path):
    with np.load(path) as arrays:
        changed = dict(arrays)
    changed["train_labels"] = changed["train_labels"][:-1]
    np.savez(path, **changed)
    return path


def no_arrays(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_labels.npy", b"no array")
    return path


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (truncated, "damaged"),
        (flipped, "damaged"),
        (no_arrays, "damaged"),
        (lambda path: without(path, "test_labels"), "has no test_labels but"),
        (with_objects, "train_images has shape .* of object"),
        (shorter, "has 5 train_images but 4 labels"),
        (lambda path: medmnist(path, shape=(28, 28, 28)), "a set of volumes has to be cut first"),
        (lambda path: medmnist(path, shape=(0, 28)), "is no array of images"),
    ],
)
def test_bad_files_are_named_in_a_line(tmp_path, spoil, said):
    path = spoil(medmnist(tmp_path / "pneumoniamnist.npz"))
    with pytest.raises(DataError, match=said) as error:
        read_dataset(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_too_much_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(medmnist_files, "MAX_ARRAY_BYTES", 1000)
    with pytest.raises(DataError, match="over the limit of 1,000"):
        read_dataset(medmnist(tmp_path / "pneumoniamnist.npz"))
