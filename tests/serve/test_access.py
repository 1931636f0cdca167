"""Who may do what, and what the outermost layer sees to."""

import fcntl
import hashlib
import os
import stat
from threading import Timer

import anyio
import pytest
from tests.serve.conftest import png

from msde.errors import DataError, MSDEError
from msde.serve import lifecycle, worklist
from msde.serve.intake.auth import Gate
from msde.serve.lifecycle import prepare
from msde.serve.settings import Settings


def add_token(served, user: str, role: str) -> str:
    file = served.service.settings.folder / "tokens"
    with file.open("a") as tokens:
        tokens.write(f"{user} {role} {hashlib.sha256(user.encode()).hexdigest()}\n")
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    return user


@pytest.mark.parametrize("header", [None, "Bearer ", "Bearer wrong", "Basic admin"])
def test_without_a_token_nothing_is_given(serve, header):
    with serve() as served:
        served.client.headers.pop("authorization")
        if header:
            served.client.headers["authorization"] = header
        schema = served.get("/api/openapi.json")["paths"]
        for path, methods in schema.items():
            for method in methods:
                if path in ("/livez", "/readyz") or (path, method) == ("/api/session", "post"):
                    continue
                answer = served.client.request(method, path.replace("{", "1").replace("}", ""), json={})
                assert answer.status_code == 401, (method, path)
                assert "www-authenticate" in answer.headers


def test_a_reader_reads_and_judges_but_changes_no_model(serve):
    with serve() as served:
        number = served.send(png(1))
        served.wait()
        served.client.headers["authorization"] = f"Bearer {add_token(served, 'reader1', 'reader')}"
        assert served.get("/api/session")["role"] == "reader"
        judged = served.client.post(f"/api/images/{number}/verdicts", json={"verdict": "normal"})
        assert (judged.status_code, judged.json()["reader"]) == (201, "reader1")
        for method, path, body in [
            ("PUT", "/api/models/discs/threshold", {"alpha": 0.1}),
            ("PUT", "/api/models/discs/version", {"version": 1}),
            ("POST", "/api/models/discs/recalibrate", {"alpha": None}),
            ("POST", "/api/models/discs/rescore", None),
            ("DELETE", f"/api/images/{number}", None),
            ("GET", "/api/audit", None),
        ]:
            assert served.client.request(method, path, json=body).status_code == 403, path


def test_a_session_needs_the_csrf_token_for_changes_and_ends(serve):
    with serve() as served:
        client = served.client
        token = client.headers.pop("authorization").removeprefix("Bearer ")
        assert client.post("/api/session", json={"token": "wrong"}).status_code == 401
        signed_in = client.post("/api/session", json={"token": token})
        cookie = signed_in.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert token.lower() not in cookie
        assert client.get("/api/images").status_code == 200
        assert client.post("/api/images", content=png(1)).status_code == 403
        assert client.post("/api/images", content=png(1), headers={"x-csrf-token": "0" * 64}).status_code == 403
        right = {"x-csrf-token": signed_in.json()["csrf"]}
        assert client.post("/api/images", content=png(1), headers=right).status_code == 202
        value = client.cookies["msde_session"]
        altered = value[:-9] + ("0" if value[-9] != "0" else "1") + value[-8:]
        for forged in (altered, "x.y", "." + value.rpartition(".")[2], ""):
            client.cookies.clear()
            assert client.get("/api/images", headers={"cookie": f"msde_session={forged}"}).status_code == 401
        tokens = served.service.settings.folder / "tokens"
        tokens.write_text("# nobody\n")
        os.utime(tokens, ns=(1, 1))
        assert client.get("/api/images", headers={"cookie": f"msde_session={value}"}).status_code == 401


def test_a_trusted_proxy_names_the_user_and_nobody_else_can(serve):
    # The test client's address is "testclient".
    with serve(proxy_header="X-Remote-User", proxies=("testclient",), admins=("chief",)) as served:
        served.client.headers.pop("authorization")
        assert served.client.get("/api/session").status_code == 401
        reader = served.client.get("/api/session", headers={"x-remote-user": "jane"}).json()
        assert (reader["user"], reader["role"]) == ("jane", "reader")
        chief = {"x-remote-user": "chief"}
        csrf = served.client.get("/api/session", headers=chief).json()["csrf"]
        body = {"alpha": 0.1}
        changed = served.client.put("/api/models/discs/threshold", json=body, headers=chief)
        assert changed.status_code == 403
        for right, status in ((reader["csrf"], 403), (csrf, 200)):
            headers = {**chief, "x-csrf-token": right}
            answer = served.client.put("/api/models/discs/threshold", json=body, headers=headers)
            assert answer.status_code == status
    with serve(proxy_header="X-Remote-User", proxies=("10.0.0.1",)) as served:
        served.client.headers.pop("authorization")
        assert served.client.get("/api/session", headers={"x-remote-user": "jane"}).status_code == 401


def test_secrets_are_for_the_owner_alone(serve):
    with serve() as served:
        for name in ("admin-token", "tokens", "secret"):
            mode = (served.service.settings.folder / name).stat().st_mode
            assert stat.S_IMODE(mode) == 0o600, name


def test_the_first_token_is_one_that_somebody_has(tmp_path):
    def enters() -> bool:
        gate = Gate(Settings(data=str(tmp_path), models=()))
        token = (tmp_path / "admin-token").read_text().strip()
        return gate.caller("GET", {"authorization": f"Bearer {token}"}, {}, "").role == "admin"

    (tmp_path / "admin-token").write_text("of a start that was killed\n")
    assert enters()
    (tmp_path / "tokens").unlink()
    assert enters()


def test_a_malformed_file_of_tokens_is_said_at_the_start(tmp_path):
    (tmp_path / "tokens").write_text("jane boss 123\n")
    with pytest.raises(DataError, match="line 1 is not USER ROLE SHA256"):
        Gate(Settings(data=str(tmp_path), models=()))


def test_security_headers_are_on_every_answer(serve):
    with serve() as served:
        for path in ("/livez", "/api/images", "/api/none", "/api/images/0"):
            headers = served.client.get(path).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "[::", ""])
def test_another_host_name_is_not_served(serve, host):
    with serve() as served:
        assert served.client.get("/api/images", headers={"host": host}).status_code == 421
    with serve(hosts=("msde.hospital.example",)) as served:
        assert served.client.get("/livez", headers={"host": "msde.hospital.example:8765"}).status_code == 200


def test_one_service_a_folder(serve):
    with serve() as served, pytest.raises(MSDEError, match="another service uses this folder"):
        prepare(served.service.settings)


def test_a_start_waits_for_processes_that_outlived_the_one_before(serve, tmp_path, monkeypatch):
    with serve() as served:
        settings = served.service.settings
        with (tmp_path / "data" / "workers.lock").open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (tmp_path / "data" / "workers.lock").open() as outliving:
        fcntl.flock(outliving, fcntl.LOCK_SH)
        with monkeypatch.context() as patched, pytest.raises(MSDEError, match="still run; end them"):
            patched.setattr(lifecycle, "OUTLIVED", 0.0)
            prepare(settings)
        ending = Timer(0.3, fcntl.flock, (outliving, fcntl.LOCK_UN))
        ending.start()
        with prepare(settings):
            ending.join()


def test_an_unforeseen_error_is_one_line_without_its_words(serve, monkeypatch):
    def fail(*_):
        raise RuntimeError("Doe^Jane")

    monkeypatch.setattr(worklist, "page", fail)
    with serve() as served:
        answer = served.client.get("/api/images")
        assert answer.status_code == 500
        assert "Doe" not in answer.text
        assert "content-security-policy" in answer.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/images"),
        ("POST", "/api/score"),
        ("POST", "/api/images/1/verdicts"),
        ("PUT", "/api/models/discs/threshold"),
        ("POST", "/api/models/discs/recalibrate"),
        ("PUT", "/api/models/discs/version"),
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x"])
def test_no_body_is_read_before_it_is_known_who_asks(serve, method, path, kind):
    answered = []

    async def receive():
        raise AssertionError("the body was asked for")

    async def send(message):
        answered.append(message.get("status"))

    headers = [(b"host", b"localhost"), (b"content-type", kind.encode()), (b"content-length", b"1000")]
    headers.append((b"authorization", b"Bearer wrong"))
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": headers, "http_version": "1.1", "scheme": "http", "client": ("127.0.0.1", 1)}
    with serve() as served:
        anyio.run(served.client.app, scope, receive, send)
    assert answered[0] == 401
