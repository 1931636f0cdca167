"""The brain MRI template in the nilearn package: where it lies, and its voxels."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msde.errors import DataError

FILE = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
REMEDY = "pip install 'msde[demo]'"


def load_template() -> NDArray[np.float32]:
    """Read the T1-weighted template ICBM 152 2009a (skull removed) that nilearn carries, brightness in [0, 1].

    Returns (197, 233, 189), 0 outside the brain; voxels of 1 mm, axes to the right, to the front and up. Nilearn itself
    is not imported (it takes seconds), and nothing is downloaded. Raises DataError where nilearn, its template or
    nibabel is missing.
    """
    if (nilearn := find_spec("nilearn")) is None or nilearn.origin is None or find_spec("nibabel") is None:
        raise DataError(f"the demo needs the packages nilearn and nibabel; {REMEDY}")
    path = Path(nilearn.origin).parent / FILE
    if not path.is_file():
        raise DataError(f"{path}: this nilearn carries no such template; {REMEDY}")

    import nibabel

    image = nibabel.as_closest_canonical(nibabel.load(path))
    return np.asarray(image.dataobj, dtype=np.float32) / np.float32(255)
