"""Who may do what, and what the outermost layer sees to."""

import fcntl
import hashlib
import os
import stat
from datetime import timedelta
from itertools import product
from threading import Timer

import pytest
from click.testing import CliRunner
from sqlalchemy import select
from starlette.datastructures import Headers
from tests.patience import wait_until
from tests.serve.conftest import png

from msde.cli.serve import serve as serve_command
from msde.errors import DataError, MSDEError
from msde.serve import lifecycle, worklist
from msde.serve.errors import Denied, Forbidden
from msde.serve.intake.auth import Gate
from msde.serve.lifecycle import prepare
from msde.serve.settings import Settings
from msde.serve.storage import sessions
from msde.serve.storage.database import Database
from msde.serve.storage.tables import PageSession


def add_token(served, user: str, role: str) -> str:
    file = served.service.settings.folder / "tokens"
    with file.open("a") as tokens:
        tokens.write(f"{user} {role} {hashlib.sha256(user.encode()).hexdigest()}\n")
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    return user


@pytest.mark.slow
def test_without_a_token_nothing_is_given(serve):
    with serve() as served:
        served.client.headers.pop("authorization")
        schema = served.get("/api/openapi.json")["paths"]
        asked = [(method, path) for path, methods in schema.items() for method in methods]
        for (method, path), header in product(asked, (None, "Bearer ", "Bearer wrong", "Basic admin")):
            if path in ("/livez", "/readyz") or (method, path) == ("post", "/api/session"):
                continue
            address, given = path.replace("{", "1").replace("}", ""), {"authorization": header} if header else {}
            answer = served.client.request(method, address, json={}, headers=given)
            assert answer.status_code == 401, (method, path)
            assert "www-authenticate" in answer.headers


@pytest.mark.slow
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
        for forged in (altered, "x.y", value[1:], hashlib.sha256(value.encode()).hexdigest(), ""):
            client.cookies.clear()
            assert client.get("/api/images", headers={"cookie": f"msde_session={forged}"}).status_code == 401
        tokens = served.service.settings.folder / "tokens"
        tokens.write_text("# nobody\n")
        os.utime(tokens, ns=(1, 1))
        assert client.get("/api/images", headers={"cookie": f"msde_session={value}"}).status_code == 401


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "headers",
    [
        {"user": "X-Auth-Request-Email", "groups": "X-Auth-Request-Groups"},  # oauth2-proxy asked by nginx or Caddy
        {"user": "X-Forwarded-Email", "groups": "X-Forwarded-Groups"},  # oauth2-proxy before the service
    ],
)
def test_oauth2_proxy_names_user_and_groups(tmp_path, headers):
    gate = gate_of(
        tmp_path,
        proxy_header=headers["user"],
        groups_header=headers["groups"],
        proxies=("10.0.0.1",),
        admin_groups=("role:msde:admin", "/msde-admins"),
        reader_groups=("/radiology",),
    )

    def come(user: str, groups: str, peer: str = "10.0.0.1") -> tuple[str, str]:
        given = Headers(
            raw=[
                (headers[name].lower().encode(), value.encode())
                for name, value in (("user", user), ("groups", groups))
                if value
            ]
        )
        caller = gate.caller("GET", given, {}, peer)
        assert caller.by_proxy
        return caller.user, caller.role

    assert come("jane@example.org", "/it,/radiology") == ("jane@example.org", "reader")
    assert come("jürgen@example.org", "/radiology") == ("jürgen@example.org", "reader")
    assert come("chief@example.org", "/staff, role:msde:admin") == ("chief@example.org", "admin")
    for groups in ("", "/it", "/radiology-guests", "radiology"):
        with pytest.raises(Forbidden, match="none of the groups that may come in"):
            come("joe@example.org", groups)
    with pytest.raises(Denied):
        come("", "/msde-admins")
    with pytest.raises(Denied):
        come("chief@example.org", "/msde-admins", peer="10.0.0.2")
    twice = [(headers["groups"].lower().encode(), b"/msde-admins"), (headers["groups"].lower().encode(), b"/it")]
    named = (headers["user"].lower().encode(), b"joe@example.org")
    with pytest.raises(Denied, match="comes more than once"):
        gate.caller("GET", Headers(raw=[named, *twice]), {}, "10.0.0.1")


def test_groups_need_their_header(disc_model, tmp_path):
    for options in (("--admin-group", "a"), ("--proxy-groups-header", "X-Groups")):
        result = CliRunner().invoke(serve_command, [str(disc_model), "--data", str(tmp_path / "data"), *options])
        assert result.exit_code == 2
        assert "--proxy-groups-header" in result.output


def test_secrets_are_for_the_owner_alone(standing):
    for name in ("admin-token", "tokens", "secret"):
        mode = (standing.service.settings.folder / name).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600, name


def gate_of(folder, **given) -> Gate:
    settings = Settings(data=str(folder), models=(), **given)
    return Gate(settings, Database(settings.url))  # which none of these tests asks


def role_of(gate: Gate, token: str) -> str | None:
    try:
        return gate.caller("GET", Headers({"authorization": f"Bearer {token}"}), {}, "").role
    except Denied:
        return None


def line(user: str, role: str = "reader") -> str:
    return f"{user} {role} {hashlib.sha256(user.encode()).hexdigest()}\n"


def test_the_first_token_is_one_that_somebody_has(tmp_path):
    def enters() -> bool:
        gate = gate_of(tmp_path)
        return role_of(gate, (tmp_path / "admin-token").read_text().strip()) == "admin"

    (tmp_path / "admin-token").write_text("of a start that was killed\n")
    assert enters()
    (tmp_path / "tokens").unlink()
    assert enters()


@pytest.mark.parametrize(
    "bad",
    [
        "jane boss 123",
        "jane reader",
        f"jane reader {'x' * 64}",
        f"jane reader {'é' * 64}",
        f"{'j' * 201} reader {'0' * 64}",
        "\x00",
        "\udcff \udcff",
        f"jane reader {'0' * 64} more",
    ],
)
def test_a_malformed_line_is_logged_by_its_number_and_costs_only_itself(tmp_path, bad, caplog):
    content = f"# readers\n{line('first')}{bad}\n\n{line('last', 'admin')}"
    (tmp_path / "tokens").write_bytes(content.encode("utf-8", "surrogateescape"))
    gate = gate_of(tmp_path)
    for _ in range(3):
        assert (role_of(gate, "first"), role_of(gate, "last"), role_of(gate, "jane")) == ("reader", "admin", None)
    told = [record for record in caplog.records if "tokens" in record.getMessage()]
    assert [vars(record)["fields"] for record in told] == [{"line": 3}]


def test_a_changed_file_of_tokens_counts_whatever_its_times_say(tmp_path):
    file = tmp_path / "tokens"

    def write(content: str) -> None:
        file.write_text(content)
        os.utime(file, ns=(1, 1))

    write(line("jane", "reader"))
    gate = gate_of(tmp_path)
    assert role_of(gate, "jane") == "reader"
    write(line("jane", "admin"))
    assert role_of(gate, "jane") == "admin"
    write(line("joan", "admin"))
    assert (role_of(gate, "jane"), role_of(gate, "joan")) == (None, "admin")
    file.unlink()
    assert role_of(gate, "joan") is None


@pytest.mark.parametrize("secret", ["", "\n", "00" * 31, "no number", "é"])
def test_an_empty_or_damaged_secret_is_refused(tmp_path, secret):
    (tmp_path / "secret").write_text(secret)
    with pytest.raises(DataError, match=r"secret: is no secret of 32 bytes; remove the file"):
        gate_of(tmp_path)


@pytest.mark.parametrize("names", [("jane", "chief"), ("chief", "jane"), ("jane", "jane"), ("", "chief")])
def test_two_copies_of_the_proxys_header_are_refused(tmp_path, names):
    gate = gate_of(tmp_path, proxy_header="X-Remote-User", proxies=("10.0.0.1",), admins=("chief",))
    headers = Headers(raw=[(b"x-remote-user", name.encode()) for name in names])
    with pytest.raises(Denied, match="comes more than once"):
        gate.caller("GET", headers, {}, "10.0.0.1")
    assert gate.caller("GET", Headers({"x-remote-user": names[1]}), {}, "10.0.0.1").user == names[1]


@pytest.mark.slow
def test_a_session_that_is_signed_out_is_over_wherever_its_cookie_is(serve, url):
    def status(served, cookie: str) -> int:
        served.client.cookies.clear()
        return served.client.get("/api/session", headers={"cookie": f"msde_session={cookie}"}).status_code

    with serve(database=url) as served:
        client = served.client
        token = client.headers.pop("authorization").removeprefix("Bearer ")
        client.post("/api/session", json={"token": token})
        other = client.cookies["msde_session"]
        csrf = client.post("/api/session", json={"token": token}).json()["csrf"]
        copied = client.cookies["msde_session"]
        assert client.delete("/api/session").status_code == 403
        assert status(served, copied) == 200
        headers = {"x-csrf-token": csrf, "cookie": f"msde_session={copied}"}
        assert client.delete("/api/session", headers=headers).status_code == 204
        assert (status(served, copied), status(served, other)) == (401, 200)
    with serve(database=url) as served:  # and a restart neither brings one back nor ends one
        served.client.headers.pop("authorization")
        assert (status(served, copied), status(served, other)) == (401, 200)


@pytest.mark.slow
def test_no_browser_keeps_what_was_seen_and_nobody_sees_it_after_signing_out(serve, explaining, normals, tmp_path):
    explaining.save(tmp_path / "explaining.msde")
    with serve(models=(str(tmp_path / "explaining.msde"),), normals=(str(normals),)) as served:
        number = served.send(png(1))
        served.wait()
        wait_until(lambda: served.service.normals.has(served.service.models.named(None)), "normals")
        token = served.client.headers.pop("authorization").removeprefix("Bearer ")
        csrf = served.client.post("/api/session", json={"token": token}).json()["csrf"]
        of_image = [f"/api/images/{number}{end}" for end in ("", "/picture", "/samples", "/overlay", "/normals")]
        addresses = [*of_image, "/api/normals/1/picture", "/api/verdicts.csv", "/api/images", "/api/audit", "/metrics"]
        for address in addresses:
            seen = served.client.get(address)
            assert (seen.status_code, seen.headers["cache-control"]) == (200, "no-store"), address
        cookie = {"cookie": f"msde_session={served.client.cookies['msde_session']}"}
        served.client.delete("/api/session", headers={"x-csrf-token": csrf})
        for address in addresses:
            assert served.client.get(address, headers=cookie).status_code == 401, address


def test_a_session_runs_out(database, monkeypatch):
    with monkeypatch.context() as patched, database.write() as session:
        patched.setattr(sessions, "LASTS", timedelta(seconds=-1))
        over = sessions.begin(session, "digest")
    with database.write() as session:
        assert sessions.token_of(session, over) is None
        cookie = sessions.begin(session, "digest")
        assert sessions.token_of(session, cookie) == "digest"
        stored = session.scalars(select(PageSession)).all()
    assert len(stored) == 1  # what has run out is not kept
    assert cookie not in repr([vars(row) for row in stored])


def test_security_headers_are_on_every_answer(standing):
    for path in ("/livez", "/api/images", "/api/none", "/api/images/0"):
        headers = standing.client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"


@pytest.mark.slow
def test_another_host_name_is_not_served(serve):
    with serve() as served:
        for host in ("evil.example", "localhost.evil.example", "[::", ""):
            assert served.client.get("/api/images", headers={"host": host}).status_code == 421, host
    with serve(hosts=("msde.hospital.example",)) as served:
        assert served.client.get("/livez", headers={"host": "msde.hospital.example:8765"}).status_code == 200


def test_one_service_a_folder(standing):
    with pytest.raises(MSDEError, match="another service uses this folder"):
        prepare(standing.service.settings)


@pytest.mark.slow
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
def test_no_body_is_read_before_it_is_known_who_asks(standing, method, path, kind):
    answered = []

    async def receive():
        raise AssertionError("the body was asked for")

    async def send(message):
        answered.append(message.get("status"))

    headers = [(b"host", b"localhost"), (b"content-type", kind.encode()), (b"content-length", b"1000")]
    headers.append((b"authorization", b"Bearer wrong"))
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": headers, "http_version": "1.1", "scheme": "http", "client": ("127.0.0.1", 1)}
    standing.client.portal.call(standing.client.app, scope, receive, send)
    assert answered[0] == 401
