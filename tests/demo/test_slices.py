from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msde.demo import DemoSet, write_demo_set
from msde.errors import DataError
from msde.images import find_images, read_pixels


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_writes_the_pictures_it_counts(demo_set: DemoSet) -> None:
    counts = {
        demo_set.train_normal: demo_set.n_train,
        demo_set.test_normal: demo_set.n_normal,
        demo_set.test_abnormal: demo_set.n_abnormal,
        demo_set.test_mask: demo_set.n_abnormal,
    }
    assert list(counts.values()) == [3, 2, 2, 2]
    for folder, count in counts.items():
        pictures = find_images([folder])
        assert len(pictures) == count
        for path in pictures:
            with Image.open(path) as image:
                assert (image.mode, image.size, image.format) == ("L", (224, 224), "PNG")
    assert len(contents(demo_set.folder)) == sum(counts.values()) + 1


def test_masks_are_black_and_white_and_named_as_their_slices(demo_set: DemoSet) -> None:
    masks = sorted(demo_set.test_mask.iterdir())
    assert [path.name for path in masks] == [path.name for path in sorted(demo_set.test_abnormal.iterdir())]
    for path in masks:
        pixels = read_pixels(path)
        assert set(np.unique(pixels)) == {0.0, 1.0}
        assert read_pixels(demo_set.test_abnormal / path.name)[pixels == 1].mean() > 0.05


def test_no_picture_comes_twice(demo_set: DemoSet) -> None:
    pictures = [data for name, data in contents(demo_set.folder).items() if name.endswith(".png")]
    assert len(set(pictures)) == len(pictures)


def test_the_same_seed_gives_the_same_bytes(demo_set: DemoSet, tmp_path: Path) -> None:
    again = write_demo_set(tmp_path / "again")
    other = write_demo_set(tmp_path / "other", seed=1)
    assert contents(again.folder) == contents(demo_set.folder)
    pairs = zip(sorted(other.train_normal.iterdir()), sorted(demo_set.train_normal.iterdir()), strict=True)
    assert all(a.read_bytes() != b.read_bytes() for a, b in pairs)


def test_the_readme_says_what_is_simulated(demo_set: DemoSet) -> None:
    text = (demo_set.folder / "README.txt").read_text(encoding="utf-8")
    for said in ("SIMULATED", "Research use only", "no evidence of clinical performance", "seed 0", "3 slices to fit"):
        assert said in text
    assert "above copyright notice appear in all copies" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 120


def test_an_earlier_demo_is_replaced(demo_set: DemoSet) -> None:
    before = contents(demo_set.folder)
    (demo_set.test_mask / "slice-000.png").write_bytes(b"")
    write_demo_set(demo_set.folder)
    assert contents(demo_set.folder) == before


def test_other_pictures_are_left_alone(few: None, tmp_path: Path) -> None:
    own = tmp_path / "train" / "normal" / "mine.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    with pytest.raises(DataError, match=r"normal: holds other files, such as mine\.png; choose a new folder"):
        write_demo_set(tmp_path)
    assert own.read_bytes() == b"mine"
    assert not (tmp_path / "README.txt").exists()


def test_a_place_that_cannot_be_written(few: None, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file: cannot be written \(.+\); choose another folder$"):
        write_demo_set(tmp_path / "file")


@pytest.mark.slow
def test_train_and_test_normals_are_alike(tmp_path: Path) -> None:
    made = write_demo_set(tmp_path)

    def summaries(folder: Path) -> np.ndarray:
        pixels = np.stack([read_pixels(path) for path in find_images([folder])])
        return np.stack([pixels.mean(axis=(1, 2)), pixels.std(axis=(1, 2)), (pixels > 0.1).mean(axis=(1, 2))])

    train, test = summaries(made.train_normal), summaries(made.test_normal)
    error = np.sqrt(train.var(axis=1) / train.shape[1] + test.var(axis=1) / test.shape[1])
    assert (np.abs(train.mean(axis=1) - test.mean(axis=1)) < 4 * error).all()
    assert [train.shape[1], test.shape[1]] == [120, 60]
