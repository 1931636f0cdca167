"""Small DICOM and NIfTI files for the tests of the pixel pipeline."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from .pictures import gray_ramp, rgb_ramp

SECRETS = {
    "PatientName": "Mustermann^Erika",
    "PatientID": "ID-4711",
    "PatientBirthDate": "19640812",
    "StudyDate": "20240131",
}
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


def dicom_dataset(values: NDArray[Any], syntax: str = ExplicitVRLittleEndian, **elements: Any) -> Dataset:
    """Give a dataset of one frame (H, W) or (H, W, 3), or of several (n, H, W); further elements by keyword."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    for keyword, value in SECRETS.items():
        setattr(dataset, keyword, value)
    colour = values.ndim == 3 and values.shape[2] == 3
    dataset.Modality = "OT"
    dataset.Rows, dataset.Columns = values.shape[:2] if colour else values.shape[-2:]
    if values.ndim == 3 and not colour:
        dataset.NumberOfFrames = len(values)
    dataset.SamplesPerPixel = 3 if colour else 1
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * values.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    stored = values.astype(values.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<"))
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OB" if values.dtype.itemsize == 1 else "OW"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def dicom_bytes(values: NDArray[Any], syntax: str = ExplicitVRLittleEndian, **elements: Any) -> bytes:
    return saved(dicom_dataset(values, syntax, **elements))


def saved(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def ct_slice(values: NDArray[Any], depth: float, series: str, number: int = 1, **elements: Any) -> bytes:
    """Give one axial slice of a series."""
    return dicom_bytes(
        values,
        SeriesInstanceUID=series,
        InstanceNumber=number,
        ImagePositionPatient=elements.pop("ImagePositionPatient", [0, 0, depth]),
        ImageOrientationPatient=elements.pop("turned", [1, 0, 0, 0, 1, 0]),
        **elements,
    )


def nifti_bytes(
    values: NDArray[Any],
    affine: NDArray[np.float64] = LPS,
    *,
    kind: type[Any] = nibabel.Nifti1Image,
    packed: bool = False,
    **fields: Any,
) -> bytes:
    """Give a NIfTI file whose header has these fields, written without nibabel's own scaling."""
    image = kind(values, affine, dtype=values.dtype)
    image.header.set_data_dtype(values.dtype)
    data = bytearray(image.to_bytes())
    header = image.header.copy()
    for field, value in fields.items():
        header[field] = value
    block = header.binaryblock
    offset = int(nibabel.Nifti1Header(bytes(data[:348])).get_data_offset()) if kind is nibabel.Nifti1Image else None
    start = len(data) - values.nbytes
    assert offset is None or offset == start
    header["vox_offset"] = start
    block = header.binaryblock
    data[: len(block)] = block
    return gzip.compress(bytes(data), 1) if packed else bytes(data)


def pydicom_file(name: str) -> Path:
    """Find one of the files inside pydicom's wheel; nothing is downloaded."""
    path = get_testdata_file(name, download=False)
    assert path is not None, name
    return Path(path)


def medical_files() -> dict[str, bytes]:
    """Give one small valid file of each kind."""
    gray = gray_ramp()
    wide = gray.astype(np.uint16) * 257
    volume = np.stack([np.roll(gray, k, axis=0) for k in range(12)], axis=2)
    return {
        "gray.dcm": dicom_bytes(gray),
        "wide.dcm": dicom_bytes(wide),
        "rgb.dcm": dicom_bytes(rgb_ramp()),
        "frames.dcm": dicom_bytes(np.stack([gray, gray[::-1], 255 - gray])),
        "deflated.dcm": dicom_bytes(gray, DeflatedExplicitVRLittleEndian),
        "volume.nii": nifti_bytes(volume),
        "volume.nii.gz": nifti_bytes(volume.astype(np.int16), packed=True),
        "two.nii": nifti_bytes(volume, kind=nibabel.Nifti2Image),
    }
