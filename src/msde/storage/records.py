"""Frozen dataclasses as named arrays and plain settings, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
Plain = dict[str, Any]
T = TypeVar("T")


def take_apart(record: Any, prefix: str = "") -> tuple[Arrays, Plain]:
    """Split a dataclass of arrays, plain values and dataclasses into dotted names, which begin with the prefix.

    Returns the arrays by name, and the other values, which JSON can hold, by name.
    """
    arrays: Arrays = {}
    settings: Plain = {}
    for field in fields(record):
        name, value = prefix + field.name, getattr(record, field.name)
        if is_dataclass(value):
            inner_arrays, inner_settings = take_apart(value, name + ".")
            arrays |= inner_arrays
            settings |= inner_settings
        elif isinstance(value, np.ndarray):
            arrays[name] = value
        else:
            settings[name] = value
    return arrays, settings


def put_together(kind: type[T], arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any], prefix: str = "") -> T:
    """Rebuild a dataclass that :func:`take_apart` split; further names are ignored.

    A dataclass that may be None, or a field whose default is None, is None where nothing of it is there, as in files
    older than the field. Raises KeyError if another name is missing.
    """
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        name, hint = prefix + field.name, hints[field.name]
        inner = next((one for one in (hint, *get_args(hint)) if is_dataclass(one)), None)
        if inner is not None and inner is not hint and not any(key.startswith(name + ".") for key in arrays):
            values[field.name] = None
        elif inner is not None:
            values[field.name] = put_together(inner, arrays, settings, name + ".")  # type: ignore[arg-type]
        elif name in arrays or name in settings or field.default is not None:
            values[field.name] = arrays[name] if name in arrays else settings[name]
    return kind(**values)
