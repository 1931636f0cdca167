"""Small look-alikes of the layouts that public archives unpack to."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tests.pictures import disc

N_TRAIN, N_NORMAL, N_ABNORMAL = 4, 3, 2


def write(path: Path, seed: int, *, lesion: bool = False, colour: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = disc(np.random.default_rng(seed), lesion=lesion)
    Image.fromarray(np.stack([pixels] * 3, axis=2) if colour else pixels).save(path)
    return path


def write_mask(path: Path, value: int = 255, side: int = 64) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((side, side), np.uint8)
    pixels[side // 3 : side // 2, side // 3 : side // 2] = value
    Image.fromarray(pixels).save(path)
    return path


def folders(root: Path, train: str, normal: str, abnormal: str, name: str = "{}.png") -> Path:
    for folder, n, first in ((train, N_TRAIN, 0), (normal, N_NORMAL, 100), (abnormal, N_ABNORMAL, 200)):
        for number in range(n):
            write(root / folder / name.format(number), first + number, lesion=folder == abnormal)
    return root


def plain(root: Path) -> Path:
    folders(root, "train/normal", "test/normal", "test/abnormal", "é {}.jpg")
    for number in range(N_ABNORMAL):
        write_mask(root / f"test/mask/é {number}.png")
    return root


def brats(root: Path) -> Path:
    folders(root, "train", "test/normal", "test/tumor", "BraTS2021_{}_flair_70.png")
    for number in range(N_ABNORMAL):
        write_mask(root / f"test/annotation/BraTS2021_{number}_seg_70.png")
    return root


def camelyon(root: Path) -> Path:
    return folders(root, "train/good", "test/good", "test/Ungood")


def bmad(root: Path, masks: str = "anomaly_mask") -> Path:
    folders(root, "train/good/img", "test/good/img", "test/Ungood/img")
    folders(root, "valid/good/img", "valid/good/img", "valid/Ungood/img")
    for number in range(N_ABNORMAL):
        write_mask(root / f"test/Ungood/{masks}/{number}.png")
    return root


def mvtec(root: Path) -> Path:
    folders(root, "train/good", "test/good", "test/crack", "{:03}.png")
    write(root / "test/hole/000.png", 300, lesion=True)
    for number in range(N_ABNORMAL):
        write_mask(root / f"ground_truth/crack/{number:03}_mask.png")
    return root


def data_json(root: Path, *, unlabelled: bool = False) -> Path:
    names = {
        split: [write(root / "images" / f"{split}{number}.png", first + number).name for number in range(n)]
        for split, n, first in (("train", 4, 0), ("normal", 3, 100), ("abnormal", 2, 200), ("spare", 2, 300))
    }
    lists: dict[str, dict[str, Any]] = {
        "train": {"0": names["train"]},
        "test": {"0": names["normal"], "1": names["abnormal"]},
    }
    if unlabelled:
        lists["train"]["unlabeled"] = {"0": names["spare"][:1], "1": names["spare"][1:]}
    (root / "data.json").write_text(json.dumps(lists), encoding="utf-8")
    return root


def isic(root: Path, column: str = "NV", one: str = "1.0") -> Path:
    for split, truth in (("Training", [1, 1, 0, 1, 1]), ("Test", [0, 1, 1, 0, 1])):
        names = [f"ISIC_{split}_{number}" for number in range(len(truth))]
        for number, name in enumerate(names):
            write(root / f"ISIC2018_Task3_{split}_Input" / f"{name}.jpg", number + 10 * len(split), colour=True)
        table = root / f"ISIC2018_Task3_{split}_GroundTruth" / f"ISIC2018_Task3_{split}_GroundTruth.csv"
        table.parent.mkdir()
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "MEL", column])
            writer.writerows(
                [name, "0.0" if normal else one, one if normal else "0.0"]
                for name, normal in zip(names, truth, strict=True)
            )
    return root


def medmnist(path: Path, labels=(0, 1, 0, 0, 0), shape=(28, 28), dtype=np.uint8, save=np.savez_compressed) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = rng.integers(0, 256, size=(len(labels), *shape)).astype(dtype)
        arrays[f"{split}_labels"] = np.asarray(labels).reshape(len(labels), -1)
    save(path, **arrays)
    return path
