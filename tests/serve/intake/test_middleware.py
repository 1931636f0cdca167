"""The outermost layer: the service below a path of another server, and the limits of bodies."""

import gzip
import json
import re
from urllib.parse import urljoin

import httpx
import pytest
from click.testing import CliRunner
from tests.serve.conftest import png
from tests.serve.process import Process
from tests.serve.proxy import Proxy

from msde.cli.serve import serve as command
from msde.serve.intake.middleware import SMALL_BODY


@pytest.mark.slow
def test_page_interface_export_and_description_are_below_the_path(disc_model, tmp_path):
    with Process(disc_model, tmp_path / "data", "--root-path", "msde/ai/") as process:
        token = process.headers["Authorization"].removeprefix("Bearer ")
        for strips in (True, False):
            with Proxy(process.port, "/msde/ai", strips=strips) as proxy, httpx.Client(timeout=30) as client:
                moved = client.get(f"{proxy.origin}/msde/ai")
                assert (moved.status_code, moved.headers["location"]) == (308, "/msde/ai/")
                page = client.get(proxy.url)
                assert "<title>MSDE" in page.text
                for address in re.findall(r'(?:href|src)="([^"#]+)"', page.text):
                    if "api/" not in address:
                        assert client.get(urljoin(proxy.url, address)).status_code == 200, address
                session = client.post(f"{proxy.url}api/session", json={"token": token})
                assert "Path=/msde/ai/;" in session.headers["set-cookie"]
                csrf = {"X-CSRF-Token": session.json()["csrf"]}
                image = png(1) + bytes(2_000_000)  # more than a request that brings no image may have
                sent = client.post(f"{proxy.url}api/images", params={"name": "a.png"}, content=image, headers=csrf)
                assert sent.status_code == 202
                assert client.get(f"{proxy.url}api/images").json()["total"] == 1
                assert client.get(urljoin(proxy.url, "api/verdicts.csv")).text.startswith("image,name,digest,")
                described = client.get(f"{proxy.url}api/openapi.json").json()
                assert described["servers"] == [{"url": "/msde/ai"}]
                assert "/api/images" in described["paths"]
                assert client.get(f"{proxy.url}nothing").status_code == 404
                assert client.delete(f"{proxy.url}api/session", headers=csrf).status_code == 204
                assert client.get(f"{proxy.url}api/images").status_code == 401
                assert proxy.missed == []
        assert process.ask("GET", "/api/images").status_code == 200  # and where no proxy is in between
        assert process.ask("GET", "/msde/aid").status_code == 404


@pytest.mark.slow
def test_no_address_of_the_page_begins_at_the_root(standing):
    page = standing.client.get("/").text
    files = [name for name in re.findall(r'(?:href|src)="([^"#]+)"', page) if "api/" not in name]
    for text in (page, *(standing.client.get(name).text for name in files if name.endswith(".js"))):
        assert not re.search(r"""["'`]/(api|[a-z]+\.(js|css|svg))""", text)


def test_an_unusual_path_is_one_too(serve):
    with serve(root_path="/apis") as served:
        assert served.client.get("/apis/api/images").status_code == 200
        assert served.client.get("/api/images").status_code == 200
        assert served.client.get("/apis", follow_redirects=False).headers["location"] == "/apis/"


@pytest.mark.parametrize("prefix", ["/api", "api/x", "/dicomweb", "/a b", "/a?b", "/ä", "https://host/x"])
def test_a_path_that_cannot_be_one_is_refused(prefix, tmp_path):
    done = CliRunner().invoke(command, ["m.msde", "--data", str(tmp_path), "--root-path", prefix])
    assert done.exit_code == 2
    assert "must be a path such as /msde" in done.output


def test_a_body_without_a_stated_length_is_counted_as_it_comes(standing):
    kind = {"content-type": "application/json"}
    long = json.dumps({"token": "x" * SMALL_BODY}).encode()
    packed = gzip.compress(long)
    for body, more in ((long, {}), (packed, {"content-encoding": "gzip"})):
        pieces = (body[at : at + 1000] for at in range(0, len(body), 1000))
        answer = standing.client.post("/api/session", content=pieces, headers={**kind, **more})
        assert (answer.status_code, answer.json()["detail"].partition(";")[0]) == (
            413,
            "the request is over the limit of 1,000,000 bytes",
        )
    small = gzip.compress(b'{"token": "x"}')[:-5]
    answer = standing.client.post("/api/session", content=small, headers={**kind, "content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "the gzip stream of the body ends early; send it again",
    )
    assert standing.client.post("/api/session", content=b"{", headers=kind).status_code == 422
    assert standing.client.get("/api/nothing").status_code == 404
