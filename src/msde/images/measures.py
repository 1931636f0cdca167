"""What a file states of its picture beside the values: how large a pixel is, what unit a value has, other windows."""

from __future__ import annotations

import os
from dataclasses import dataclass

from msde.errors import ImageError
from msde.images.decoder_warnings import decoders_silenced
from msde.images.files import format_of, guarded, reader_of


@dataclass(frozen=True)
class Measures:
    """How a picture is measured.

    Parameters
    ----------
    spacing : (float, float), optional
        Millimetres from row to row and from column to column; None where the file states none.
    at_detector : bool
        Whether they are those of a detector, on which a body is larger than it is.
    unit : str
        Of the values, such as HU; empty where the file names none.
    modality : str
        As DICOM abbreviates it; empty in other formats.
    windows : tuple of (float, float)
        The lowest and the highest value of each window that the file states.
    """

    spacing: tuple[float, float] | None = None
    at_detector: bool = False
    unit: str = ""
    modality: str = ""
    windows: tuple[tuple[float, float], ...] = ()


def measures_of(path: str | os.PathLike[str], name: str, part: str | None = None) -> Measures:
    """Read how one picture of a file is measured; nothing is known of formats that do not state it reliably.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    name : str
        What it is called, in messages that nobody sees: what cannot be read is not known.
    part : str, optional
        One of the labels that `msde.images.files.look_into` gave.
    """
    try:
        form = format_of(path, name)
        reader = reader_of(form)
        if not hasattr(reader, "measures"):
            return Measures()
        with decoders_silenced(), guarded(name, form.name):
            found: Measures = reader.measures(os.fspath(path), part, name)
            return found
    except ImageError:
        return Measures()
