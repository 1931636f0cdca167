"""What a localizer is fitted on, in the abstract."""

import pytest
from tests.heatmaps.maps import made_up

from msde.heatmaps.localizer import Localizer


@pytest.fixture(scope="session")
def localizer():
    return Localizer.fit({"plain": made_up(60), "stretched": made_up(60, seed=1)})
