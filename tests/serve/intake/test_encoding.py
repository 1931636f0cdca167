"""Bodies that come packed."""

import gzip
import json
import zlib
from collections.abc import Callable
from itertools import product

from tests.serve.conftest import png


def raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "GZip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}


def blocks(body: bytes, size: int):
    return (body[start : start + size] for start in range(0, len(body), size))


def test_a_packed_body_is_the_image_in_it(standing):
    number = standing.send(png(1))
    for coding, pack in [*PACKERS.items(), ("deflate", raw), ("identity", bytes)]:
        for size in (1, 100, 10**9):
            headers = {"content-encoding": coding}
            again = standing.client.post("/api/images", content=blocks(pack(png(1)), size), headers=headers).json()
            assert again["images"] == [{"id": number, "name": "upload", "known": True}]


def test_forms_and_json_may_be_packed_too(serve):
    with serve() as served:
        request = served.client.build_request("POST", "/api/images", files=[("files", ("a.png", png(1)))])
        headers = {"content-type": request.headers["content-type"], "content-encoding": "gzip"}
        answer = served.client.post("/api/images", content=gzip.compress(request.read()), headers=headers)
        assert [image["name"] for image in answer.json()["images"]] == ["a.png"]
        token = served.client.headers["authorization"].removeprefix("Bearer ")
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        body = gzip.compress(json.dumps({"token": token}).encode())
        assert served.client.post("/api/session", content=body, headers=headers).status_code == 200


def test_members_follow_each_other(standing):
    content = png(1)
    number = standing.send(content)
    body = b"".join(gzip.compress(block) for block in blocks(content, 100))
    answer = standing.client.post("/api/images", content=body, headers={"content-encoding": "gzip"}).json()
    assert answer["images"][0]["id"] == number


def test_what_comes_out_is_limited(serve):
    bomb = gzip.compress(bytes(20_000_000))
    with serve(upload_bytes=100_000) as served:
        for path in ("/api/images", "/api/score"):
            answer = served.client.post(path, content=bomb, headers={"content-encoding": "gzip"})
            assert answer.status_code == 413
        assert list(served.service.store.incoming.iterdir()) == []


def test_a_damaged_stream_is_refused(standing):
    harms = (lambda body: body[:-20], lambda body: body[:-8] + bytes(8), lambda body: b"plain")
    for coding, harm in product(("gzip", "deflate"), harms):
        body = harm(PACKERS[coding](png(1)))
        answer = standing.client.post("/api/images", content=body, headers={"content-encoding": coding})
        assert answer.status_code == 400, answer.text
        assert f"{coding} stream" in answer.json()["detail"]
    assert list(standing.service.store.incoming.iterdir()) == []


def test_other_codings_are_refused_with_those_that_are_read(standing):
    for coding in ("br", "zstd", "gzip, gzip", "compress"):
        answer = standing.client.post("/api/images", content=b"x", headers={"content-encoding": coding})
        assert answer.status_code == 415
        assert answer.headers["accept-encoding"] == "gzip, x-gzip, deflate"


def test_an_empty_body_is_empty(standing):
    answer = standing.client.post("/api/images", content=b"", headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["detail"]) == (400, "the body is empty; send a file as the body")
    assert standing.client.get("/livez", headers={"content-encoding": "gzip"}).status_code == 200
