"""anomalib's models as detectors, for those who have it; needs ``pip install 'anomalib[cpu]'`` beside this package.

The models read the images themselves and bring their own networks, whose weights anomalib may fetch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.benchmark.detectors import Lesson, Rows, Score
from msde.errors import DataError

BATCH = 16


def fit_anomalib(lesson: Lesson, model: str, **settings: Any) -> Score:
    """Train a class of ``anomalib.models`` on files with anomalib's own settings; an image scores as the model says.

    Raises DataError if anomalib or the model is missing.
    """
    try:
        from anomalib import models
        from anomalib.data import Folder
        from anomalib.engine import Engine
        from lightning import seed_everything
    except ImportError as error:
        raise DataError(f"anomalib:{model}: {error}; run `pip install 'anomalib[cpu]'` or leave it out") from error
    if not hasattr(models, model):
        raise DataError(f"anomalib:{model}: anomalib has no such model; see anomalib.models")
    seed_everything(lesson.seed)
    plain = {"post_processor": False, "evaluator": False, "visualizer": False}
    fitted = getattr(models, model)(**plain, **settings)
    with _folder_of(lesson.normals) as folder:
        data = Folder(
            name="normals",
            normal_dir=folder / "images",
            train_batch_size=BATCH,
            num_workers=0,
            test_split_mode="none",
            val_split_mode="none",
        )
        data.setup()
        _engine(Engine, folder).fit(fitted, train_dataloaders=data.train_dataloader())

    def score(rows: Rows) -> NDArray[np.float64]:
        from anomalib.data import PredictDataset
        from torch.utils.data import DataLoader

        with _folder_of(rows) as folder:
            dataset = PredictDataset(folder / "images")
            loader = DataLoader(dataset, BATCH, collate_fn=dataset.collate_fn)
            found = _engine(Engine, folder).predict(fitted, dataloaders=loader)
        by_name = {
            Path(path).stem: float(value)
            for batch in found
            for path, value in zip(batch.image_path, batch.pred_score, strict=True)
        }
        return np.array([by_name[f"{number:07}"] for number in range(len(rows))])

    return score


def _engine(kind: Any, folder: Path) -> Any:
    return kind(default_root_dir=folder, logger=False, accelerator="auto", devices=1, enable_progress_bar=False)


@contextmanager
def _folder_of(paths: Rows) -> Iterator[Path]:
    """Give anomalib, which takes folders, one with the files under numbers."""
    with TemporaryDirectory(prefix="msde-") as name:
        images = Path(name) / "images"
        images.mkdir()
        for number, path in enumerate(map(str, paths)):
            os.symlink(path, images / f"{number:07}{Path(path).suffix}")
        yield Path(name)
