from __future__ import annotations

import threading
import warnings

import pytest

from msde.images.decoder_warnings import decoders_silenced


def warn_as(module: str) -> None:
    warnings.warn_explicit("told", UserWarning, f"{module}.py", 1, module=module)


def test_only_pillow_is_silenced() -> None:
    with decoders_silenced():
        warn_as("PIL.Image")
        with pytest.warns(UserWarning, match="told"):
            warn_as("numpy.linalg")


def test_the_filters_are_restored_when_the_last_of_overlapping_readers_leaves() -> None:
    before = list(warnings.filters)
    inside, leave = threading.Event(), threading.Event()

    def reader() -> None:
        with decoders_silenced():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=reader)
    with decoders_silenced():
        thread.start()
        assert inside.wait(10)
    warn_as("PIL.Image")  # the other reader is still at work
    leave.set()
    thread.join(10)
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="told"):
        warn_as("PIL.Image")


def test_an_error_restores_the_filters() -> None:
    before = list(warnings.filters)
    with pytest.raises(ValueError, match="inside"), decoders_silenced():
        raise ValueError("inside")
    assert list(warnings.filters) == before
