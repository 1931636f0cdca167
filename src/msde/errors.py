"""The package's errors: each ends in one line which names the file and the remedy.

MSDEError
├── DataError
├── ImageError
├── BackboneError
│   └── WeightsFileError
├── ModelFileError
└── OutputError
"""

from __future__ import annotations


class MSDEError(Exception):
    """Anything that this package reports to its user."""


class BackboneError(MSDEError):
    """A backbone is unknown, cannot be loaded, or gives no usable embedding."""


class WeightsFileError(BackboneError):
    """A file of weights is missing, truncated, altered or not what it claims to be."""


class ImageError(MSDEError):
    """An image cannot be read, or its samples have no stated range."""


class DataError(MSDEError):
    """A folder, a file list or a table of images is not what the job needs."""


class ModelFileError(MSDEError):
    """A model file is missing, truncated, altered, of another format, or cannot be written."""


class OutputError(MSDEError):
    """A result cannot be written where it was asked for."""
