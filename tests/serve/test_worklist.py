"""Sorting, filtering and paging, on either database."""

import pytest
from sqlalchemy import insert, update
from tests.serve.conftest import DATABASES, empty_database, png, running

from msde.serve.storage.tables import Image, Score


@pytest.fixture(scope="module", params=DATABASES)
def listed(request, disc_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("listed")
    with running(folder, disc_model, database=empty_database(request, folder)) as served:
        names = ["Alpha.png", "beta_50%.png", "gamma.png", "delta.png"]
        ids = [served.send(png(n, lesion=n == 2), name) for n, name in enumerate(names)]
        served.send(png(9)[:150], "broken.png")
        served.wait()
        served.client.post(f"/api/images/{ids[0]}/verdicts", json={"verdict": "normal"})
        yield served


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("sort=name", ["Alpha.png", "beta_50%.png", "broken.png", "delta.png", "gamma.png"]),
        ("sort=arrived&order=asc", ["Alpha.png", "beta_50%.png", "gamma.png", "delta.png", "broken.png"]),
        ("sort=arrived", ["broken.png", "delta.png", "gamma.png", "beta_50%.png", "Alpha.png"]),
        ("state=failed", ["broken.png"]),
        ("flagged=true", ["gamma.png"]),
        ("verdict=normal", ["Alpha.png"]),
        ("search=ALPHA", ["Alpha.png"]),
        ("search=50%25", ["beta_50%.png"]),
        ("search=%25", ["beta_50%.png"]),
        ("search=%00", []),
        ("sort=arrived&limit=2&offset=1", ["delta.png", "gamma.png"]),
        ("verdict=none&flagged=true&state=scored", ["gamma.png"]),
    ],
)
def test_rows_are_sorted_filtered_and_paged(listed, query, names):
    assert [row["name"] for row in listed.get(f"/api/images?{query}")["rows"]] == names


@pytest.mark.slow
@pytest.mark.parametrize("sort", ["p_value", "anomaly_score", "arrived", "name", "verdict", "state"])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_what_has_no_value_is_last(listed, sort, order):
    answer = listed.get(f"/api/images?sort={sort}&order={order}")
    assert answer["total"] == len(answer["rows"]) == 5
    key = {"arrived": "arrived", "name": "name"}.get(sort, sort)
    missing = [row[key] is None for row in answer["rows"]]
    assert missing == sorted(missing)


def test_the_lowest_p_value_comes_first_and_among_equals_the_highest_score(listed):
    rows = [row for row in listed.get("/api/images")["rows"] if row["p_value"] is not None]
    keys = [(row["p_value"], -row["anomaly_score"]) for row in rows]
    assert keys == sorted(keys)
    assert rows[0]["words"].startswith("none of 40 held-out normal images")


def test_a_line_is_found_by_its_image_and_by_what_is_to_be_read(listed):
    numbers = [row["id"] for row in listed.get("/api/images?sort=name")["rows"]]

    def place(**sought) -> int | None:
        answer = listed.client.post("/api/worklist/place", json={"sort": "name", **sought})
        assert answer.status_code == 200, answer.text
        return answer.json()["place"]

    for group in ("image", "study"):
        assert [place(image=number, group=group) for number in numbers] == [0, 1, 2, 3, 4]
        assert [place(offset=offset, group=group) for offset in range(6)] == [1, 1, 2, 3, 4, 1]
    assert place(image=999) is None
    assert place(image=numbers[0], verdict="none") is None
    assert place(verdict="normal") is None


@pytest.mark.slow
def test_ten_thousand_rows_are_paged_through_once_each(serve):
    with serve() as served:
        served.send(png(1))
        served.wait()
        with served.service.database.write() as session:
            facts = {"suffix": ".png", "name": "n", "format": "PNG", "modality": "other", "origin": "rest"}
            images = [{"id": n, "digest": f"{n:064}", **facts} for n in range(10, 10_010)]
            session.execute(insert(Image), images)
            scores = [
                {"image_id": n, "model_id": 1, "version_id": 1, "shown": True, "state": "scored", "n_parts": 1}
                | {"seen_in_training": False, "anomaly_score": float(n % 97), "p_value": (n % 41 + 1) / 41}
                for n in range(10, 10_010)
            ]
            session.execute(insert(Score), scores)
            session.execute(update(Score).where(Score.image_id < 10).values(shown=False))
        seen: list[int] = []
        for offset in range(0, 10_000, 500):
            page = served.get(f"/api/images?limit=500&offset={offset}")
            assert page["total"] == 10_000
            seen += [row["id"] for row in page["rows"]]
        assert sorted(seen) == list(range(10, 10_010))
