"""What goes out as JSON of a picture: its values, their windows, and how it is measured."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Window(BaseModel):
    """Values that become black and white, by a name."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    low: float
    high: float


class Range(BaseModel):
    """Values of a gray image, which are black and white by default, and which others may be chosen."""

    low: float
    high: float
    window: tuple[float, float]
    unit_bits: int
    unit: str
    windows: list[Window]


class Spacing(BaseModel):
    """Millimetres from row to row and from column to column, in a body or at a detector."""

    rows: float
    columns: float
    at_detector: bool


class Region(BaseModel):
    """The values within a region, in the file's own unit."""

    model_config = ConfigDict(from_attributes=True)

    pixels: int
    mean: float
    sd: float
    lowest: float
    highest: float
