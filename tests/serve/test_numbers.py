"""Numbers for the head of department, of images that came over weeks."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select
from tests.images.medical import dicom_bytes
from tests.serve.conftest import Served, png

from msde.method.metrics import wilson
from msde.serve.storage.tables import Image, Score, Verdict, now

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana-dashboard.json"
ALERTS = Path(__file__).parents[2] / "deploy" / "prometheus-rules.yml"


def filled(served: Served, weeks: int, images: int, seed: int = 0) -> None:
    """Enter images of so many weeks, as they would have come from two scanners, the second of which drifts lately."""
    random, current = np.random.default_rng(seed), next(iter(served.service.models))
    normals = served.service.models.calibration(current).scores
    until = now()
    with served.service.database.write() as session:
        for n in range(weeks * images):
            arrived = until - timedelta(days=7 * weeks * (1 - n / (weeks * images)), seconds=60)
            scanner = ("SIEMENS Skyra", "GE Optima", None)[n % 7 % 3]
            late = scanner == "GE Optima" and n > 0.8 * weeks * images
            score = float(random.choice(normals)) + (np.ptp(normals) if late else 0.0)
            above = int(np.sum(normals >= score))
            p_value = (above + 1) / (len(normals) + 1)
            readers = () if n % 3 else ("anna", "ben") if n % 2 else ("anna",)
            words = ["abnormal" if p_value <= current.alpha and random.random() < 0.6 else "normal" for _ in readers]
            image = Image(
                digest=f"{n:064x}",
                suffix=".dcm",
                name=f"{n}.dcm",
                format="DICOM",
                modality="MR",
                origin="rest",
                arrived=arrived,
                scanner=scanner,
                body_part="",
                readers=len(readers),
                verdict=words[0] if len(set(words)) == 1 else "disputed" if words else None,
            )
            session.add(image)
            session.flush()
            of_image = {"image_id": image.id, "version_id": current.version_id}
            session.add(
                Score(
                    **of_image,
                    model_id=current.model_id,
                    shown=True,
                    state="scored",
                    anomaly_score=score,
                    p_value=p_value,
                    scored=arrived + timedelta(seconds=float(random.exponential(20))),
                )
            )
            for reader, word in zip(readers, words, strict=True):
                at = arrived + timedelta(hours=float(random.exponential(5)))
                session.add(Verdict(**of_image, verdict=word, note="", reader=reader, at=at))


@pytest.fixture(scope="module")
def weeks_of_images(standing) -> Served:
    filled(standing, weeks=6, images=60)
    return standing


def test_weeks_add_up_and_intervals_are_wilsons(weeks_of_images):
    found = weeks_of_images.get("/api/models/discs/numbers?weeks=8")
    total, weeks = found["total"], found["weeks"]
    assert [week["week"] for week in weeks] == sorted(week["week"] for week in weeks)
    assert len(weeks) == 8
    assert {datetime.fromisoformat(week["week"]).weekday() for week in weeks} == {0}
    for name in ("images", "flagged", "confirmed_normals", "false_alarms", "confirmed_abnormals", "found", "verdicts"):
        assert total[name] == sum(week[name] for week in weeks) > 0, name
    assert total["images"] == 360
    assert total["flags_per_1000"] == pytest.approx(1000 * total["flagged"] / 360)
    assert total["false_alarm_interval"] == pytest.approx(wilson(total["false_alarms"], total["confirmed_normals"]))
    assert total["scores"] == sorted(total["scores"])
    assert 5 < total["to_score"]["median"] < 60 < 3600 < total["to_verdict"]["median"] < total["to_verdict"]["p90"]
    with weeks_of_images.service.database.read() as session:
        normals = session.scalars(select(Image.id).where(Image.verdict == "normal")).all()
    assert total["confirmed_normals"] == len(normals)
    empty = weeks_of_images.get("/api/models/discs/numbers?weeks=8")["weeks"][0]
    assert (empty["images"], empty["flags_per_1000"], empty["scores"], empty["to_verdict"]) == (0, None, None, None)
    assert [pair["readers"] for pair in found["pairs"]] == [["anna", "ben"]]


def test_drift_is_told_by_scanner_and_week(weeks_of_images):
    scanners = weeks_of_images.get("/api/models/discs/numbers?weeks=8")["scanners"]
    whole = {one["scanner"]: one for one in scanners if one["week"] is None}
    assert list(whole) == ["SIEMENS Skyra", "GE Optima", "no scanner stated"]
    assert whole["GE Optima"]["distance"] > 2 * whole["SIEMENS Skyra"]["distance"]
    drifting = {(one["scanner"], one["week"]) for one in scanners if one["week"] and one["found"]}
    assert {scanner for scanner, _ in drifting} == {"GE Optima"}
    latest = max(one["week"] for one in scanners if one["week"])
    since = date.fromisoformat(max(week for _, week in drifting))
    assert date.fromisoformat(latest) - since <= timedelta(days=7)  # a week that has just begun has few images


def test_the_numbers_are_exported_and_on_record(weeks_of_images):
    for table, rows, columns in (
        ("weeks", 9, "false_alarm_interval_low"),
        ("scanners", 3, "distance"),
        ("readers", 1, "kappa"),
    ):
        path = f"/api/models/discs/numbers.csv?weeks=8&table={table}"
        answer = weeks_of_images.client.get(path)
        lines = list(csv.DictReader(io.StringIO(answer.text)))
        assert len(lines) >= rows
        assert columns in lines[0]
        assert f'filename="{table}.csv"' in answer.headers["content-disposition"]
    audit = weeks_of_images.get("/api/audit?action=export")["rows"]
    assert [row["detail"]["table"] for row in audit] == ["readers", "scanners", "weeks"]


def test_dashboard_and_alerts_ask_for_metrics_that_there_are(weeks_of_images):
    weeks_of_images.get("/api/models")  # so that a request has been counted
    text = weeks_of_images.client.get("/metrics").text
    there = set(re.findall(r"^(msde_\w+?)(?:_bucket)?(?:\{| )", text, re.MULTILINE))
    there |= set(re.findall(r"^# TYPE (msde_\w+) ", text, re.MULTILINE))
    dashboard = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    named = set(re.findall(r"msde_\w+", " ".join(asked) + ALERTS.read_text()))
    assert {name.removesuffix("_bucket") for name in named} <= there
    total = weeks_of_images.get("/api/models/discs/numbers?weeks=4")["total"]
    assert f'msde_recent_flagged_images{{model="discs"}} {total["flagged"]}.0' in text
    assert 'msde_recent_scanner_drift_distance{model="discs",scanner="GE Optima"}' in text
    assert "anna" not in text


def test_the_scanner_of_a_dicom_image_is_known(serve):
    with serve() as served:
        made = {"Manufacturer": "SIEMENS", "ManufacturerModelName": "Siemens  Skyra"}
        for number, header in enumerate(({}, {"Manufacturer": "GE", "ManufacturerModelName": "Optima"}, made)):
            values = np.full((32, 32), number, np.uint16)
            served.send(dicom_bytes(values, WindowCenter=1, WindowWidth=2, **header), f"{number}.dcm")
        served.send(png(1))
        with served.service.database.read() as session:
            known = session.scalars(select(Image.scanner).order_by(Image.id)).all()
        assert known == [None, "GE Optima", "Siemens Skyra", None]
