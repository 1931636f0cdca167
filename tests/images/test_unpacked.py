"""What is unpacked is kept while it is read, and no longer."""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tests.patience import wait_until

from msde.errors import ImageError
from msde.images import find_images, forget, nifti, read_pixels, unpacked
from msde.images.files import guarded
from msde.images.unpacked import Nameless, Unpacked

MARK = "msde-"


def held() -> set[str]:
    """List the nameless files that this process has open or mapped; earlier tests' may go at any time."""
    links = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    return {line for line in (*links, *Path("/proc/self/maps").read_text().splitlines()) if "(deleted)" in line}


@pytest.fixture
def volume(tmp_path, rng) -> Path:
    forget("")  # what earlier tests left would go while this one counts
    values = rng.integers(0, 1000, (32, 32, 20)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "v.nii.gz")
    return tmp_path / "v.nii.gz"


def nameless() -> Nameless:
    with tempfile.TemporaryFile() as file:
        return Nameless(file)


@pytest.mark.slow
def test_a_volume_is_unpacked_once_for_all_who_read_it_and_let_go_afterwards(volume, monkeypatch):
    monkeypatch.setattr(unpacked, "IDLE", 0.5)
    made: list[str] = []
    unpack = nifti._unpacked

    def count(path: str, *given: int) -> Nameless:
        made.append(path)
        return unpack(path, *given)

    monkeypatch.setattr(nifti, "_unpacked", count)
    before = held()
    slices = find_images([volume])
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(read_pixels, slices))) == 20
    assert made == [str(volume)]
    own = held() - before
    assert len(own) == 1  # the file itself, of which nothing is mapped
    wait_until(lambda: not own & held(), "a file that is let go")
    read_pixels(slices[0])
    assert made == [str(volume)] * 2


def test_it_is_let_go_at_once_where_its_file_is_to_be_forgotten(volume):
    before = held()
    read_pixels(find_images([volume])[0])
    forget(volume.parent / "other")
    own = held() - before
    assert len(own) == 1
    forget(volume)
    assert not own & held()


def test_what_is_damaged_is_found_once(monkeypatch):
    kept, tries = Unpacked(), []

    def fail():
        tries.append(1)
        raise ImageError("x: damaged")

    for _ in range(3):
        with pytest.raises(ImageError, match="x: damaged"):
            kept.file(("key", 0, 0), fail)
    assert len(tries) == 1


def test_what_a_full_disk_kept_from_being_unpacked_is_tried_again():
    kept = Unpacked()

    def fill():
        with guarded("x", "NIfTI"), open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")
        return full

    with pytest.raises(ImageError, match="No space left"):
        kept.file(("key", 0, 0), fill)
    file = nameless()
    assert kept.file(("key", 0, 0), lambda: file) is file


def test_all_that_is_idle_goes(monkeypatch):
    monkeypatch.setattr(unpacked, "IDLE", 0.05)
    kept = Unpacked()
    for key in range(20):
        kept.file((str(key), 0, 0), nameless)
    wait_until(lambda: not len(kept), "an empty store")
