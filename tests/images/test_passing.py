"""States of the machine are told from faults of a file."""

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from msde.errors import ImageError
from msde.images import find_images, read_pixels
from msde.images.files import guarded
from msde.images.passing import is_passing, times_met


@contextmanager
def no_files_left() -> Iterator[None]:
    """Let this process open no further file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(path)
    return path


def test_a_file_that_cannot_be_opened_for_want_of_files_is_counted(image):
    read_pixels(image)
    before = times_met()
    with no_files_left(), pytest.raises(ImageError, match="Too many open files"):
        read_pixels(image)
    assert times_met() > before


def test_so_is_one_whose_kind_cannot_be_told_then(image):
    bare = image.rename(image.with_suffix(""))
    before = times_met()
    with no_files_left():
        assert find_images([bare]) == [bare]
    assert times_met() > before


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_faults_of_a_file_are_not_counted(content, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    before = times_met()
    for name in ("a.png", "absent.png"):
        with pytest.raises(ImageError):
            read_pixels(tmp_path / name)
    assert times_met() == before


@pytest.mark.parametrize(
    "number", [errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EIO, errno.ENOMEM, errno.EDQUOT], ids=errno.errorcode.get
)
def test_a_state_is_known_below_other_errors(number):
    before = times_met()
    with pytest.raises(ImageError), guarded("x", "PNG"):
        try:
            raise OSError(number, os.strerror(number))
        except OSError:
            raise ValueError("broken data stream") from None
    assert times_met() == before + 1
    assert is_passing(MemoryError())
    assert is_passing(ImportError(f"libx.so: cannot open shared object file: {os.strerror(errno.EMFILE)}"))
    assert not is_passing(FileNotFoundError(errno.ENOENT, "absent"))
    assert not is_passing(None)
