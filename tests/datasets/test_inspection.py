"""What makes results on a set doubtful is found and said."""

import json

import numpy as np
import pytest
from PIL import Image
from tests.datasets import layouts
from tests.pictures import disc

from msde.datasets import read_dataset
from msde.datasets.inspection import inspect_dataset


def texture(seed: int, side: int = 64) -> np.ndarray:
    """Draw a picture that is like no other: blurred noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


@pytest.fixture
def root(tmp_path):
    """A set without a fault: 30 pictures in each class, all unlike each other."""
    for split, first in (("train/normal", 0), ("test/normal", 100), ("test/abnormal", 200)):
        (tmp_path / "set" / split).mkdir(parents=True)
        for number in range(30):
            Image.fromarray(texture(first + number)).save(tmp_path / "set" / split / f"{number:02}.png")
    return tmp_path / "set"


def inspected(root):
    return inspect_dataset(read_dataset(root))


def warnings(root):
    return list(inspected(root).warnings())


def test_a_sound_set_gives_no_warning(root):
    ticks = []
    inspection = inspect_dataset(read_dataset(root), lambda: ticks.append(1))
    assert list(inspection.warnings()) == []
    assert len(ticks) == 90
    lines = "\n".join(inspection.lines())
    assert "set: layout 'normal and abnormal'" in lines
    assert "test        30 normal, 30 abnormal, 0 masks" in lines
    assert "64 x 64 px: 30 .png, 8-bit gray" in lines


def test_figures_are_ready_for_json(root):
    figures = json.loads(json.dumps(inspected(root).figures()))
    assert (figures["n_train"], figures["n_normal"], figures["n_abnormal"]) == (30, 30, 30)
    assert figures["duplicates"][0] == {"between": "train and test", "identical": 0, "alike": 0, "examples": []}
    assert set(figures["statistics"]) >= {"mean", "entropy", "all five together", "file size"}
    low, value, high = (figures["statistics"]["mean"]["auroc"][key] for key in ("low", "value", "high"))
    assert 0 <= low <= value <= high <= 1


def test_fingerprints_are_of_the_pictures_alone(root, tmp_path):
    layouts.write_mask(root / "test/mask/00.png")
    before = inspected(root)
    assert set(before.fingerprints) == {"train", "normal", "abnormal", "masks"}
    moved = root.rename(tmp_path / "elsewhere")
    for number, path in enumerate(sorted((moved / "train/normal").iterdir())):
        Image.open(path).save(path.with_name(f"{99 - number}.bmp"))
        path.unlink()
    assert inspected(moved).fingerprints == before.fingerprints
    assert f"fingerprint {before.fingerprints['train'][:16]} of train" in "\n".join(before.lines())


@pytest.mark.slow
@pytest.mark.parametrize(("split", "folder"), [("normal", "test/normal"), ("masks", "test/mask")])
def test_a_changed_picture_changes_its_own_fingerprint(root, split, folder):
    layouts.write_mask(root / "test/mask/00.png")
    before = inspected(root).fingerprints
    path = root / folder / "00.png"
    pixels = np.array(Image.open(path))
    pixels[0, 0] = 255 - pixels[0, 0]
    Image.fromarray(pixels).save(path)
    after = inspected(root).fingerprints
    assert {name for name in before if before[name] != after[name]} == {split}


def test_copies_between_train_and_test_are_found(root):
    (root / "test/normal/copy.png").write_bytes((root / "train/normal/03.png").read_bytes())
    Image.open(root / "train/normal/07.png").resize((96, 96)).save(root / "test/abnormal/again.jpg", quality=60)
    twins = inspected(root).twins[0]
    assert (twins.identical, twins.alike) == (1, 1)
    assert twins.examples == [("copy.png", "03.png"), ("again.jpg", "07.png")]
    assert any("2 images are the same or alike in train and test" in warning for warning in warnings(root))


def test_one_picture_in_both_classes_is_found(root):
    (root / "test/abnormal/same.png").write_bytes((root / "test/normal/00.png").read_bytes())
    assert any("in test normal and test abnormal, such as same.png and 00.png" in line for line in warnings(root))


def test_a_class_that_is_exported_otherwise_is_a_leak(root):
    for path in (root / "test/abnormal").iterdir():
        image = Image.open(path)
        image.resize((80, 64)).save(path.with_suffix(".bmp"))
        path.unlink()
    found = " | ".join(warnings(root))
    assert "file size alone tells the classes apart, AUROC 1.000: a leak" in found
    assert "width / height alone tells" in found
    assert "100% of the normal and 0% of the abnormal images are .png, 8-bit gray: a leak" in found


def test_brightness_that_gives_the_class_away_is_told(root):
    for path in (root / "test/abnormal").iterdir():
        Image.open(path).point(lambda value: value // 3).save(path)
    telling = inspected(root).telling["mean"]
    assert telling.auroc.value < 0.2
    assert any(line.startswith("mean alone tells the classes apart") for line in warnings(root))


def test_normals_of_another_source_are_told(root):
    for path in (root / "test").rglob("*.png"):
        Image.open(path).point(lambda value: value // 3).save(path)
    assert any("mean tells the normals of test and train apart" in line for line in warnings(root))


def test_gray_stored_as_colour_in_one_class_is_told(root):
    for path in (root / "test/abnormal").iterdir():
        Image.open(path).convert("RGB").save(path)
    assert any(
        "100% of the normal and 0% of the abnormal images are .png, 8-bit gray" in line for line in warnings(root)
    )


def test_without_a_class_there_is_no_auroc(root):
    for path in (root / "test/abnormal").iterdir():
        path.unlink()
    inspection = inspected(root)
    assert "no abnormal images to test on: no AUROC can be computed" in inspection.warnings()
    assert inspection.telling["mean"].auroc is None
    assert "undefined" in "\n".join(inspection.lines())
    assert json.dumps(inspection.figures())


def test_faulty_masks_are_counted(root):
    layouts.write_mask(root / "test/mask/00.png")
    layouts.write_mask(root / "test/mask/01.png", value=1)
    layouts.write_mask(root / "test/mask/02.png", side=32)
    found = warnings(root)
    assert "1 masks hold other values than 0 and 255" in found
    assert "1 masks have another size than their image" in found
    assert "27 abnormal images have no mask; score pixels only where there is one" in found


def test_published_counts_are_compared(tmp_path):
    assert "4 + 3 + 2 images to train on, normal and abnormal, where 1500 + 811 + 811 are published" in warnings(
        layouts.data_json(tmp_path / "LAG")
    )


def test_an_unreadable_image_is_told_and_left_out(root):
    (root / "train/normal/03.png").write_bytes(b"no picture")
    inspection = inspected(root)
    assert len(inspection.unreadable) == 1
    assert "03.png" in inspection.unreadable[0]
    assert inspection.kinds["train"] == {".png, 8-bit gray": 29}


def test_nothing_readable_at_all_is_no_crash(root):
    for path in root.rglob("*.png"):
        path.write_bytes(b"no picture")
    inspection = inspected(root)
    assert len(inspection.unreadable) == 90
    assert inspection.telling["mean"].auroc is None
    assert list(inspection.lines())


def test_arrays_are_looked_over_too(tmp_path):
    inspection = inspected(layouts.medmnist(tmp_path / "pneumoniamnist.npz", labels=(0, 1, 0, 0, 1)))
    assert inspection.kinds["train"] == {".npz, 8-bit gray": 3}
    assert inspection.telling["file size"].auroc is None
    assert inspection.twins[0].identical == 0


def test_large_pictures_are_thinned_out(tmp_path):
    for split in ("train/normal", "test/normal", "test/abnormal"):
        (tmp_path / split).mkdir(parents=True)
        Image.fromarray(disc(np.random.default_rng(1), side=1500)[:, :9]).save(tmp_path / split / "long.png")
    inspection = inspected(tmp_path)
    assert inspection.sizes["train"] == (9, 9, 1500, 1500)
    assert inspection.twins[0].identical == 2
