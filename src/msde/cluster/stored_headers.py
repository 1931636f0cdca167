"""Headers of DICOM files in object storage: what they tell of patients, and nothing else of them is kept."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import fsspec

from msde.cluster.storage import is_remote, retry
from msde.images.formats import DICOM, SIGNATURE_BYTES, by_suffix, recognise
from msde.images.patients import Key, Patients
from msde.images.source import ONE_PICTURE
from msde.method.parallel import in_order

BEGINNING = 1 << 16
"""Bytes of a file that are read first, in which all that tells the patient nearly always stands."""
LONGER = 1 << 24
"""Bytes that are read of a DICOM file where they do not: what stands behind them tells nothing."""
READERS = 32


@dataclass(frozen=True)
class StoredHeaders:
    """Tells which images are of one patient, by what is said of them and by headers, wherever these lie.

    Parameters
    ----------
    patients : Patients
        How patients are told.
    of_files : mapping of str to frozenset of Key
        What headers of files in object storage tell, by address.
    """

    patients: Patients
    of_files: Mapping[str, frozenset[Key]] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, patients: Patients, files: Iterable[str]) -> Self:
        """Read the headers of those of the files that lie in object storage; what cannot be read tells nothing."""
        if not patients.headers:
            return cls(patients)
        remote = [file for file in dict.fromkeys(files) if is_remote(file) and not _is_one_picture(file)]
        found = in_order(lambda file: _keys(patients, file), remote, READERS)
        return cls(patients, {file: keys for file, keys in zip(remote, found, strict=True) if keys})

    def keys(self, name: str, volume: str | None = None) -> frozenset[Key]:
        """Return what tells the patient of an image, which may be part of a volume, by its name."""
        return self.patients.keys(name) | self.of_files.get(volume or name, frozenset())


def _is_one_picture(file: str) -> bool:
    form = by_suffix(file)
    return form is not None and form.name in ONE_PICTURE


def _keys(patients: Patients, address: str) -> frozenset[Key]:
    head = _beginning(address, BEGINNING)
    keys = _keys_in(patients, address, head)
    if keys or len(head) < BEGINNING or recognise(head[:SIGNATURE_BYTES]) is not DICOM:
        return keys
    return _keys_in(patients, address, _beginning(address, LONGER))


def _beginning(address: str, length: int) -> bytes:
    """Read the first bytes of a file; none where that fails, because the image's own row says why."""
    try:
        files, path = fsspec.core.url_to_fs(address)
        content: bytes = retry(lambda: files.cat_file(path, start=0, end=length))
    except Exception:  # whatever the storage's library raises
        return b""
    return content


def _keys_in(patients: Patients, address: str, content: bytes) -> frozenset[Key]:
    with tempfile.TemporaryDirectory(prefix="msde-") as folder:
        copy = Path(folder) / os.path.basename(address)[-200:]  # a file of no signature goes by its suffix
        copy.write_bytes(content)
        return patients.header_keys(copy)
