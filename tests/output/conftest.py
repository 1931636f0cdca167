"""The fixtures of the heat maps."""

from tests.heatmaps.conftest import discs, model  # noqa: F401 - fixtures
