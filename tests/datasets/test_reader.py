"""Each layout is recognised from its folder alone; what is wrong with one is said in a line."""

import json
import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from tests.datasets import layouts

from msde.datasets import Dataset, read_dataset
from msde.errors import DataError


def counts(dataset: Dataset) -> tuple[int, int, int, int]:
    return len(dataset.train), len(dataset.normal), len(dataset.abnormal), len(dataset.masks)


@pytest.mark.parametrize(
    ("build", "layout", "expected"),
    [
        (layouts.plain, "normal and abnormal", (4, 3, 2, 2)),
        (layouts.brats, "BraTS2021", (4, 3, 2, 2)),
        (layouts.camelyon, "good and Ungood", (4, 3, 2, 0)),
        (layouts.bmad, "BMAD with masks", (4, 3, 2, 2)),
        (layouts.mvtec, "MVTec", (4, 3, 3, 2)),
        (layouts.data_json, "data.json", (4, 3, 2, 0)),
        (layouts.isic, "ISIC2018_Task3", (4, 3, 2, 0)),
    ],
)
def test_every_layout_is_recognised(tmp_path, build, layout, expected):
    root = build(tmp_path / "mein Satz ä")
    dataset = read_dataset(os.fspath(root))
    assert (dataset.name, dataset.layout) == ("mein Satz ä", layout)
    assert counts(dataset) == expected
    assert all(path.is_file() for path in [*dataset.train, *dataset.normal, *dataset.abnormal])
    assert not set(dataset.train) & {*dataset.normal, *dataset.abnormal}


@pytest.mark.shared
def test_real_sets_with_masks(shared):
    assert counts(read_dataset(shared / "data/lgg_flair_hemispheres")) == (321, 176, 270, 270)
    assert counts(read_dataset(shared / "data/busi_ultrasound")) == (58, 41, 240, 65)


@pytest.mark.parametrize(
    ("build", "image", "mask"),
    [
        (layouts.plain, "test/abnormal/é 1.jpg", "test/mask/é 1.png"),
        (layouts.brats, "test/tumor/BraTS2021_1_flair_70.png", "test/annotation/BraTS2021_1_seg_70.png"),
        (layouts.bmad, "test/Ungood/img/1.png", "test/Ungood/anomaly_mask/1.png"),
        (lambda root: layouts.bmad(root, "label"), "test/Ungood/img/1.png", "test/Ungood/label/1.png"),
        (layouts.mvtec, "test/crack/001.png", "ground_truth/crack/001_mask.png"),
    ],
)
def test_masks_belong_to_their_images(tmp_path, build, image, mask):
    root = build(tmp_path / "set")
    assert read_dataset(root).masks[root / image] == root / mask


def test_a_name_can_be_given(tmp_path):
    assert read_dataset(layouts.camelyon(tmp_path / "x"), "Camelyon16").name == "Camelyon16"


def test_unlabelled_images_stay_apart(tmp_path):
    dataset = read_dataset(layouts.data_json(tmp_path / "RSNA", unlabelled=True))
    assert [path.name for path in dataset.unlabelled_train] == ["spare0.png", "spare1.png"]
    assert counts(dataset) == (4, 3, 2, 0)
    assert dataset.notes == ()


def test_images_in_no_list_are_noted(tmp_path):
    assert read_dataset(layouts.data_json(tmp_path / "RSNA")).notes == (
        "2 files in images/ are in no list of data.json",
    )


def test_the_order_of_a_list_is_kept(tmp_path):
    root = layouts.data_json(tmp_path / "LAG")
    lists = json.loads((root / "data.json").read_text())
    lists["train"]["0"].reverse()
    (root / "data.json").write_text(json.dumps(lists))
    assert [path.name for path in read_dataset(root).train] == lists["train"]["0"]


def test_accents_taken_apart_are_found(tmp_path):
    root = layouts.data_json(tmp_path / "LAG")
    (root / "images/train0.png").rename(root / "images" / unicodedata.normalize("NFD", "é.png"))
    text = (root / "data.json").read_text().replace("train0.png", unicodedata.normalize("NFC", "é.png"))
    (root / "data.json").write_text(text, encoding="utf-8")
    assert counts(read_dataset(root)) == (4, 3, 2, 0)


def test_an_empty_class_is_allowed_in_a_test_set(tmp_path):
    root = layouts.camelyon(tmp_path / "set")
    shutil.rmtree(root / "test/Ungood")
    (root / "test/Ungood").mkdir()
    assert counts(read_dataset(root)) == (4, 3, 0, 0)


def test_a_loop_of_links_ends(tmp_path):
    root = layouts.plain(tmp_path / "set")
    (root / "train/normal/again").symlink_to(root / "train", target_is_directory=True)
    (root / "test/normal/self.png").symlink_to(root / "test/normal/self.png")
    dataset = read_dataset(root)
    assert len(dataset.train) == 4
    assert len(dataset.normal) == 4  # the broken link is listed, and its reader says what is wrong


def test_reading_writes_nothing(tmp_path):
    root = layouts.plain(tmp_path / "set")
    paths = [root, *root.rglob("*")]
    before = {path: path.stat().st_mtime_ns for path in paths}
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert counts(read_dataset(root)) == (4, 3, 2, 2)
    finally:
        for path in paths:
            path.chmod(0o755)
    assert {path: path.stat().st_mtime_ns for path in [root, *root.rglob("*")]} == before


def renamed(build, old, new):
    def wrong(root: Path) -> Path:
        build(root)
        (root / old).rename(root / new)
        return root

    return wrong


def rewritten(build, file, change):
    def wrong(root: Path) -> Path:
        path = build(root) / file
        path.write_bytes(change(path.read_bytes()))
        return root

    return wrong


def emptied(build, folder):
    def wrong(root: Path) -> Path:
        shutil.rmtree(build(root) / folder)
        (root / folder).mkdir()
        return root

    return wrong


def without_normals(raw):
    lists = json.loads(raw)
    lists["train"] = {"normal": lists["train"]["0"]}
    return json.dumps(lists).encode()


TABLE = "ISIC2018_Task3_Test_GroundTruth/ISIC2018_Task3_Test_GroundTruth.csv"


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda root: root, "no such file or folder"),
        (lambda root: root.mkdir() or root, "it is empty"),
        (lambda root: layouts.write(root / "a.png", 0).parent, "in no layout that is known \\(it holds a.png\\)"),
        (
            renamed(layouts.plain, "test/abnormal", "test/Abnormal"),
            "has no test/abnormal .* holds Abnormal, mask, normal",
        ),
        (renamed(layouts.brats, "test/tumor", "test/tumour"), "has no test/tumor .* holds annotation, normal, tumour"),
        (renamed(layouts.bmad, "test/Ungood", "test/bad"), "has no test/Ungood/img"),
        (renamed(layouts.camelyon, "train/good", "train/fine"), "has no train/good"),
        (emptied(layouts.plain, "train/normal"), "no normal image to train on"),
        (renamed(layouts.data_json, "images", "pictures"), "images: no such folder"),
        (rewritten(layouts.data_json, "data.json", lambda raw: raw[:-9]), "is no JSON"),
        (rewritten(layouts.data_json, "data.json", lambda raw: b"[" * 100_000), "is no JSON"),
        (rewritten(layouts.data_json, "data.json", lambda raw: b"\xff\xfe{}"), "is no UTF-8"),
        (rewritten(layouts.data_json, "data.json", lambda raw: b"[1]"), "has no 'train' with lists"),
        (rewritten(layouts.data_json, "data.json", without_normals), "no list of file names under '0' but normal"),
        (
            rewritten(layouts.data_json, "data.json", lambda raw: raw.replace(b"train1.png", b"../../x.png")),
            "'../../x.png' is listed but not in",
        ),
        (
            rewritten(layouts.data_json, "data.json", lambda raw: raw.replace(b'"train0.png", "train1.png"', b"1, 2")),
            "no list of file names",
        ),
        (lambda root: layouts.isic(root, column="nevus"), "has no column NV but image, MEL, nevus"),
        (lambda root: layouts.isic(root, one="true"), "has no 0 or 1 under NV"),
        (lambda root: layouts.isic(root, one="2"), "line 2 has no 0 or 1 under NV"),
        (rewritten(layouts.isic, TABLE, lambda raw: b""), "has no column image but nothing"),
        (rewritten(layouts.isic, TABLE, lambda raw: raw + b"short\n"), "has no 0 or 1 under NV"),
        (rewritten(layouts.isic, TABLE, lambda raw: raw + b"gone,0,1\n"), "'gone' is listed but not in"),
        (renamed(layouts.isic, "ISIC2018_Task3_Test_Input", "Test"), "ISIC2018_Task3_Test_Input: no such folder"),
        (renamed(layouts.isic, TABLE, "truth.csv"), "no such table"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path, build, said):
    root = build(tmp_path / "set")
    with pytest.raises(DataError, match=said) as error:
        read_dataset(root)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_arrays_beside_a_layout_are_none_of_it(tmp_path):
    root = layouts.data_json(tmp_path / "RSNA")
    np.savez(root / "embeddings.npz", anything=np.zeros(3))
    assert read_dataset(root).layout == "data.json"


def test_a_folder_of_sets_asks_for_one(tmp_path):
    layouts.data_json(tmp_path / "RSNA")
    layouts.brats(tmp_path / "BraTS2021")
    with pytest.raises(DataError, match=r"holds several data sets; give .*BraTS2021 \(of BraTS2021, RSNA\)"):
        read_dataset(tmp_path)


def test_labels_of_normals_are_for_arrays_only(tmp_path):
    with pytest.raises(DataError, match="are for .npz files only"):
        read_dataset(layouts.plain(tmp_path / "set"), normal=["1"])


def test_a_table_may_have_a_byte_order_mark_and_another_name(tmp_path):
    root = layouts.isic(tmp_path / "set")
    (root / TABLE).write_bytes(b"\xef\xbb\xbf" + (root / TABLE).read_bytes())
    (root / TABLE).rename((root / TABLE).with_name("truth.csv"))
    assert counts(read_dataset(root)) == (4, 3, 2, 0)
    assert read_dataset(root).notes == ("1 abnormal images to train on are left out",)


def test_unclaimed_masks_are_noted(tmp_path):
    root = layouts.plain(tmp_path / "set")
    layouts.write_mask(root / "test/mask/other.png")
    assert read_dataset(root).notes == (f"1 masks belong to no abnormal image, such as {Path('test/mask/other.png')}",)


def test_masks_of_other_names_are_noted(tmp_path):
    root = layouts.brats(tmp_path / "set")
    for path in (root / "test/annotation").iterdir():
        path.rename(path.with_name(path.name.replace("seg", "mask")))
    dataset = read_dataset(root)
    assert dataset.masks == {}
    assert dataset.notes[0].startswith("2 masks belong to no abnormal image, such as test/annotation/BraTS2021_0_mask")


def test_items_are_what_a_model_embeds(tmp_path):
    from msde.images import read_pixels

    for root in (layouts.plain(tmp_path / "plain"), layouts.medmnist(tmp_path / "pneumoniamnist.npz")):
        pixels = read_pixels(read_dataset(root).train[0])
        assert pixels.dtype == np.float32
        assert pixels.ndim == 2
