"""Source images: those that come with pydicom, and radiographs and ultrasound as plain as the standard allows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    UltrasoundImageStorage,
    generate_uid,
)

FOLDER = Path(pydicom.__file__).parent / "data" / "test_files"


def shipped(name: str) -> Dataset:
    return pydicom.dcmread(FOLDER / name)


def radiograph() -> Dataset:
    """Give a CR image with every optional attribute left out and the others empty."""
    return _image(ComputedRadiographyImageStorage, "CR")


def digital_radiograph() -> Dataset:
    """Give a DX image of a left knee with detector spacing, but no frame of reference."""
    image = _image(DigitalXRayImageStorageForPresentation, "DX")
    elements: dict[str, Any] = (
        {"PatientID": "P-17", "PatientName": "Müller^Änne", "PatientSex": "F", "PatientBirthDate": "19700101"}
        | {"BodyPartExamined": "KNEE", "ImageLaterality": "L", "PatientOrientation": ["L", "F"]}
        | {"ImagerPixelSpacing": [0.15, 0.15], "InstanceNumber": 3, "BurnedInAnnotation": "NO"}
        | {
            "LossyImageCompression": "01",
            "LossyImageCompressionRatio": 10,
            "LossyImageCompressionMethod": "ISO_10918_1",
        }
    )
    for keyword, value in elements.items():
        setattr(image, keyword, value)
    return image


def ultrasound() -> Dataset:
    """Give a US image with text burned in, and the spacing in its regions only."""
    image = _image(UltrasoundImageStorage, "US", samples=3)
    region = Dataset()
    region.PhysicalDeltaX = region.PhysicalDeltaY = 0.01
    image.SequenceOfUltrasoundRegions, image.BurnedInAnnotation = [region], "YES"
    return image


def neighbour(image: Dataset) -> Dataset:
    """Give another image of the same series."""
    image.SOPInstanceUID = generate_uid(entropy_srcs=["msde test", "neighbour"])
    return image


def with_bytes(keyword: str, value: bytes) -> Dataset:
    """Give a radiograph with an attribute as it stands in a file, whatever that is."""
    image, tag = digital_radiograph(), Tag(keyword)
    image[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, False, True)
    return image


def written(image: Dataset, folder: Path) -> Dataset:
    """Give an image as it comes from a file: its values are bytes still."""
    image.save_as(folder / "source.dcm", enforce_file_format=True)
    return pydicom.dcmread(folder / "source.dcm")


def _image(sop_class: str, modality: str, samples: int = 1) -> Dataset:
    image = Dataset()
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime"):
        setattr(image, keyword, "")
    image.AccessionNumber = image.ReferringPhysicianName = ""
    image.SpecificCharacterSet, image.Modality = "ISO_IR 100", modality
    for part in ("Study", "Series"):
        setattr(image, f"{part}InstanceUID", generate_uid(entropy_srcs=["msde test", modality, part]))
    image.SOPClassUID, image.SOPInstanceUID = sop_class, generate_uid(entropy_srcs=["msde test", modality])
    image.Rows, image.Columns, image.SamplesPerPixel = 48, 64, samples
    image.PhotometricInterpretation = "MONOCHROME2" if samples == 1 else "RGB"
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation = 7, 0
    image.PixelData = np.zeros((48, 64, samples), np.uint8).tobytes()
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


SOURCES: dict[str, Callable[[], Dataset]] = {
    "CR": radiograph,
    "DX": digital_radiograph,
    "US": ultrasound,
    "CT": lambda: shipped("CT_small.dcm"),
    "MR": lambda: shipped("MR_small.dcm"),
    "MR big-endian": lambda: shipped("MR_small_bigendian.dcm"),
    "NM": lambda: shipped("JPEG2000.dcm"),
    "SC without patient": lambda: shipped("SC_rgb_jpeg_dcmd.dcm"),
    "lossy SC": lambda: shipped("SC_rgb_dcmtk_+eb+cr.dcm"),
    "CT of a head": lambda: shipped("J2K_pixelrep_mismatch.dcm"),
    "US with palette": lambda: shipped("examples_palette.dcm"),
    "CT of one frame in many": lambda: shipped("liver_1frame.dcm"),
    "dose without numbers": lambda: shipped("badVR.dcm"),
}
