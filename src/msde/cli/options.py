"""Types of command-line options."""

from __future__ import annotations

import math
from typing import Any

import click


class Rate(click.FloatRange):
    """A number strictly between 0 and 1."""

    def __init__(self) -> None:
        super().__init__(0, 1, min_open=True, max_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert, and refuse NaN, which passes any comparison."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail("nan is not in the range 0<x<1.", param, ctx)
        return number
