"""Fixtures of the tests of DICOM results."""

from __future__ import annotations

from datetime import datetime

import pytest

from msde.dicom import Result


@pytest.fixture(scope="session")
def result() -> Result:
    return Result(
        anomaly_score=3.25,
        p_value=0.0125,
        threshold=2.5,
        alpha=0.05,
        flagged=True,
        model_name="chest radiographs",
        model_version="2.1",
        model_sha256="0123456789abcdef" * 4,
        text="The image scores above the threshold.\nSchärfe unauffällig.",
        scored_at=datetime(2026, 4, 19, 12, 34, 56, 789),
    )
