"""Several readers of one image: what stands, what is settled, and what follows from it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from sqlalchemy import text

from msde.serve import recalibration
from msde.serve.intake.tokens import digest_of_token
from msde.serve.storage.tables import Image

from .conftest import png


@pytest.fixture
def readers(standing):
    """Give what asks as anna, and as ben."""
    tokens = standing.service.settings.folder / "tokens"
    admin = tokens.read_text()
    names = ("anna", "ben")
    tokens.write_text(admin + "".join(f"{name} reader {digest_of_token(f'{name}-reads')}\n" for name in names))

    def asking(name):
        def ask(method, path, body=None):
            return standing.client.request(method, path, json=body, headers={"authorization": f"Bearer {name}-reads"})

        return ask

    yield tuple(asking(name) for name in names)
    tokens.write_text(admin)


def judged(ask, image, word, seen=None):
    return ask("POST", f"/api/images/{image}/verdicts", {"verdict": word, **({"seen": seen} if seen else {})})


def case(ask, image):
    return ask("GET", f"/api/images/{image}").json()


def test_the_words_of_two_readers_are_settled_disputed_and_withdrawn(standing, readers):
    anna, ben = readers
    image, other = (standing.send(png(seed)) for seed in (100, 101))
    standing.wait()

    def tally():
        counted = standing.get("/api/models/discs/tally")
        normals = standing.get("/api/models/discs")["confirmed_normals"]
        assert normals == counted["confirmed_normals"]
        return normals, counted["confirmed_abnormals"], counted["disputed"]

    def row():
        [found] = [row for row in standing.get("/api/images?limit=500")["rows"] if row["id"] == image]
        return found["verdict"], found["readers"]

    assert judged(anna, image, "normal").status_code == judged(anna, other, "abnormal").status_code == 201
    assert (row(), tally()) == (("normal", 1), (1, 1, 0))
    judged(ben, image, "unsure")
    assert (row(), tally()) == (("normal", 2), (1, 1, 0))  # who is unsure contradicts nobody
    judged(ben, image, "abnormal")
    assert (row(), tally()) == (("disputed", 2), (0, 1, 1))
    assert image not in {
        found.id for found in recalibration._confirmed(standing.service, standing.service.models.named(None))
    }
    assert [found["id"] for found in standing.get("/api/images?verdict=disputed")["rows"]] == [image]
    judged(ben, other, "abnormal")
    [pair] = standing.get("/api/models/discs/tally")["pairs"]
    assert (pair["readers"], pair["images"], pair["agreed"]) == (["anna", "ben"], 2, 1)
    assert pair["kappa"] == 0
    assert pair["interval"][0] <= 0 <= pair["interval"][1]

    withdrawn = ben("DELETE", f"/api/images/{image}/verdicts")
    assert (withdrawn.status_code, withdrawn.json()["verdict"]) == (200, "withdrawn")
    assert (row(), tally()) == (("normal", 1), (1, 1, 0))
    again = ben("DELETE", f"/api/images/{image}/verdicts")
    assert (again.status_code, "no verdict of yours" in again.json()["detail"]) == (409, True)
    [pair] = standing.get("/api/models/discs/tally")["pairs"]
    assert (pair["images"], pair["kappa"], pair["interval"]) == (1, None, None)
    assert [given["verdict"] for given in case(anna, image)["verdicts"]] == [
        "withdrawn",
        *("abnormal", "unsure", "normal"),
    ]
    rows = standing.get(f"/api/audit?image={image}&action=verdict")["rows"]
    assert [(entry["user"], entry["detail"]["verdict"]) for entry in rows[:2]] == [
        ("ben", "withdrawn"),
        ("ben", "abnormal"),
    ]
    anna("DELETE", f"/api/images/{image}/verdicts")
    assert (row(), tally()) == ((None, 0), (0, 1, 0))
    lines = list(csv.DictReader(io.StringIO(standing.client.get("/api/verdicts.csv").text)))
    said = [(line["reader"], line["verdict"]) for line in lines if line["image"] == str(image)]
    assert said[-2:] == [("ben", "withdrawn"), ("anna", "withdrawn")]


def test_a_verdict_on_what_has_changed_since_is_refused_until_it_was_looked_at_again(standing, readers):
    anna, ben = readers
    image = standing.send(png(102))
    standing.wait()
    seen = case(anna, image)["seen"]
    assert judged(ben, image, "abnormal").status_code == 201
    refused = judged(anna, image, "normal", seen)
    assert refused.status_code == 409
    assert "since you looked ben has called it abnormal;" in refused.json()["detail"]
    assert case(anna, image)["readers"] == 1
    seen = case(anna, image)["seen"]
    ben("DELETE", f"/api/images/{image}/verdicts")
    assert "ben has taken a verdict back" in judged(anna, image, "normal", seen).json()["detail"]
    seen = case(anna, image)["seen"]
    assert judged(anna, image, "normal", seen).status_code == 201
    assert judged(anna, image, "unsure", seen).status_code == 201  # one's own word changes nothing of what was seen
    for nonsense in ("", "x", "1-scored-99999999999999999999999", "---"):
        assert judged(anna, image, "normal", nonsense or "-").status_code == 409


def test_a_verdict_on_an_image_that_was_scored_meanwhile_is_refused(standing, readers):
    anna, _ = readers
    image = standing.send(png(103))
    standing.wait()
    seen = case(anna, image)["seen"]
    number, _, since = seen.split("-")
    refused = judged(anna, image, "normal", f"{number}-queued-{since}")
    assert "since you looked the model says something else of it" in refused.json()["detail"]


def test_earlier_data_with_several_readers_are_settled(url):
    from alembic import command
    from alembic.config import Config

    from msde.serve.storage import database as migrated
    from msde.serve.storage.database import Database

    database = Database(url)
    database.upgrade()
    with database.engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrated.__file__).with_name("migrations")))
        config.attributes.update(connection=connection, folder=None)
        command.downgrade(config, "0008")
    said = {1: [("anna", "normal"), ("ben", "abnormal")], 2: [("anna", "abnormal"), ("anna", "unsure")], 3: []}
    said[4] = [("anna", "normal"), ("ben", "unsure")]
    image = text(
        "INSERT INTO images (id, digest, suffix, name, format, modality, origin, arrived)"
        " VALUES (:id, :name, '.png', :name, 'PNG', 'other', 'rest', '2026-01-01')"
    )
    verdict = text(
        "INSERT INTO verdicts (image_id, verdict, note, reader, at) VALUES (:id, :word, '', :reader, '2026-01-01')"
    )
    with database.write() as session:
        for number, words in said.items():
            session.execute(image, {"id": number, "name": str(number)})
            for reader, word in words:
                session.execute(verdict, {"id": number, "word": word, "reader": reader})
    database.upgrade()
    with database.read() as session:
        settled = {image.id: (image.verdict, image.readers) for image in session.query(Image)}
    database.close()
    assert settled == {1: ("disputed", 2), 2: ("unsure", 1), 3: (None, 0), 4: ("normal", 2)}
