"""Write the demo's data set: slices of simulated patients, healthy and with simulated lesions."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msde.demo.lesion import Lesion
from msde.demo.patient import Patient, smooth_field
from msde.demo.template import load_template
from msde.errors import DataError

N_TRAIN = 120
N_NORMAL = 60
N_ABNORMAL = 60

README = """\
A demonstration data set. Research use only; not for diagnosis, and no evidence of clinical performance.

train/normal    {train} slices to fit on
test/normal     {normal} slices without a lesion
test/abnormal   {abnormal} slices with one lesion each
test/mask       where the lesion of the slice with the same name lies (255: mass and oedema; 0: elsewhere)

What is real: the anatomy of ONE head, an average of 152 T1-weighted brain MRIs (ICBM 152 2009a, nonlinear, symmetric,
skull removed), as the nilearn package carries it.
What is SIMULATED: everything else. The "patients" are that one average bent, scaled, tilted, brightened, blurred and
made noisy by random numbers (seed {seed}); the lesions are painted shapes, from subtle to plain. No person was scanned
for any of these pictures. Figures measured on them show that the program works, and nothing about how well it finds
disease.

The template: Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute,
McGill University. Permission to use, copy, modify, and distribute this software and its documentation for any purpose
and without fee is hereby granted, provided that the above copyright notice appear in all copies. The authors and
McGill University make no representations about the suitability of this software for any purpose. It is provided
"as is" without express or implied warranty. The authors are not responsible for any data loss, equipment damage,
property loss, or injury to subjects or patients resulting from the use or misuse of this software package.
The pictures here are changed from it as described above.
"""


@dataclass(frozen=True)
class DemoSet:
    """Where the demo's data set lies, and how many pictures each folder holds."""

    folder: Path
    train_normal: Path
    test_normal: Path
    test_abnormal: Path
    test_mask: Path
    n_train: int
    n_normal: int
    n_abnormal: int


def write_demo_set(
    folder: str | os.PathLike[str], seed: int = 0, counts: tuple[int, int, int] | None = None
) -> DemoSet:
    """Write slices of simulated patients, all drawn from the same distribution, some with a simulated lesion.

    Parameters
    ----------
    folder : path-like
        Where to write ``train/normal``, ``test/normal``, ``test/abnormal`` and ``test/mask`` (8-bit grayscale PNG) and
        ``README.txt``. Files of an earlier demo are replaced.
    seed : int
        The same seed gives the same files.
    counts : tuple of int, optional
        How many normals to train on, normals and abnormal slices to test on; by default 120, 60 and 60.

    Returns
    -------
    DemoSet
        The folders and their counts.

    Raises
    ------
    DataError
        The extra ``demo`` is missing, or the folder cannot be written or holds other pictures.
    """
    folder = Path(folder)
    n_train, n_normal, n_abnormal = counts or (N_TRAIN, N_NORMAL, N_ABNORMAL)
    made = DemoSet(
        folder=folder,
        train_normal=folder / "train" / "normal",
        test_normal=folder / "test" / "normal",
        test_abnormal=folder / "test" / "abnormal",
        test_mask=folder / "test" / "mask",
        n_train=n_train,
        n_normal=n_normal,
        n_abnormal=n_abnormal,
    )
    template = load_template()
    try:
        _claim(made)
        _write_normals(made.train_normal, template, (seed, 0), made.n_train)
        _write_normals(made.test_normal, template, (seed, 1), made.n_normal)
        _write_abnormals(made, template, (seed, 2))
        readme = README.format(train=made.n_train, normal=made.n_normal, abnormal=made.n_abnormal, seed=seed)
        (folder / "README.txt").write_text(readme, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None
    return made


def _claim(made: DemoSet) -> None:
    """Make the folders, and refuse to mix the demo with somebody's own pictures."""
    sizes = {
        made.train_normal: made.n_train,
        made.test_normal: made.n_normal,
        made.test_abnormal: made.n_abnormal,
        made.test_mask: made.n_abnormal,
    }
    for folder, count in sizes.items():
        folder.mkdir(parents=True, exist_ok=True)
        strangers = {path.name for path in folder.iterdir()} - {_name(i) for i in range(count)}
        if strangers:
            raise DataError(f"{folder}: holds other files, such as {min(strangers)}; choose a new folder for the demo")


def _write_normals(folder: Path, template: NDArray[np.float32], seed: tuple[int, int], count: int) -> None:
    for i in range(count):
        patient = Patient.draw(np.random.default_rng((*seed, i)))
        _save(patient.scan(patient.anatomy(template)), folder / _name(i))


def _write_abnormals(made: DemoSet, template: NDArray[np.float32], seed: tuple[int, int]) -> None:
    for i in range(made.n_abnormal):
        rng = np.random.default_rng((*seed, i))
        patient = Patient.draw(rng)
        lesion = Lesion.draw(rng, brain=patient.anatomy(template) > 0.3)
        anatomy = patient.anatomy(template, lesion.displace(patient.coordinates))
        ill = lesion.paint(anatomy, smooth_field(rng, 40, 0.05))
        _save(patient.scan(ill), made.test_abnormal / _name(i))
        _save(lesion.mask(anatomy).astype(np.uint8) * 255, made.test_mask / _name(i))


def _save(picture: NDArray[np.uint8], path: Path) -> None:
    from PIL import Image

    Image.fromarray(picture).save(path, compress_level=4)


def _name(i: int) -> str:
    return f"slice-{i:03d}.png"
