"""The files for nginx and Caddy as they are in deploy/, but for names and ports, before a service."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.patience import PATIENCE, wait_until
from tests.requirements import PATH, need
from tests.serve.conftest import png
from tests.serve.oauth2_proxy import COOKIE, OAuth2Proxy
from tests.serve.pacs.certificates import Authority
from tests.serve.process import Process

pytestmark = pytest.mark.slow

DEPLOY = Path(__file__).parents[2] / "deploy"
NAME = "msde.example.org"
USERS = {"jane@example.org": "radiology,staff", "chief@example.org": "msde-admins", "joe@example.org": "kitchen"}


def options() -> list[str]:
    """Return the options that the head of nginx.conf tells to give."""
    head = (DEPLOY / "nginx.conf").read_text().partition("\n#   ")[2].partition("\n# oauth2-proxy")[0]
    return head.replace("\n#", " ").split()


def started(kind: str, folder: Path, port: int, service: int, oauth2: int, certificate: Path) -> list[str]:
    """Write the file as it would be adapted; return the command that runs the proxy with it."""
    text = (DEPLOY / {"nginx": "nginx.conf", "caddy": "Caddyfile"}[kind]).read_text()
    text = text.replace("127.0.0.1:8765", f"127.0.0.1:{service}").replace("127.0.0.1:4180", f"127.0.0.1:{oauth2}")
    text = text.replace("/etc/ssl/certs/msde.pem", str(certificate))
    text = text.replace("/etc/ssl/private/msde.key", str(certificate))
    program = str(shutil.which(kind, path=PATH))
    if kind == "caddy":
        text = text.replace("/etc/ssl/private/msde.key", str(certificate)).replace(
            f"\n{NAME} {{", f"\n{NAME}:{port} {{"
        )
        (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https off\n}}\n{text}")
        return [program, "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    text = text.replace("/etc/ssl/private/msde.key", str(certificate)).replace("listen 443", f"listen 127.0.0.1:{port}")
    text = text.replace("listen 80;", f"listen unix:{folder}/80.sock;")
    paths = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\nhttp {{ {paths}\n{text}\n}}\n"
    )
    return [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]


@contextmanager
def proxied(kind: str, folder: Path, service: int) -> Iterator[httpx.Client]:
    """Run a proxy before a service and give a client of it."""
    authority = Authority(folder)
    certificate, _ = authority.certificate("server", NAME)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    trusted = ssl.create_default_context(cafile=authority.file)
    with OAuth2Proxy(USERS) as oauth2, (folder / "log").open("wb") as log:
        command = started(kind, folder, port, service, oauth2.port, certificate)
        environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            with httpx.Client(
                base_url=f"https://127.0.0.1:{port}", headers={"Host": NAME}, verify=trusted, timeout=PATIENCE
            ) as client:

                def answers() -> bool:
                    assert process.poll() is None, (folder / "log").read_text()
                    try:
                        return client.get("/livez", extensions={"sni_hostname": NAME}).status_code == 200
                    except httpx.TransportError:
                        return False

                wait_until(answers, f"{kind} that answers")
                yield client
        finally:
            process.terminate()
            process.wait(PATIENCE)


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_readers_come_through_the_proxy_and_nobody_names_himself(kind, disc_model, tmp_path):
    need(kind)
    folder = tmp_path / "proxy"
    folder.mkdir()
    with Process(disc_model, tmp_path / "data", *options()) as process, proxied(kind, folder, process.port) as client:

        def ask(method: str, path: str, email: str = "", **further: Any) -> httpx.Response:
            cookie = {"Cookie": f"{COOKIE}={email}"} if email else {}
            headers = {**further.pop("headers", {}), **cookie}
            return client.request(method, path, headers=headers, extensions={"sni_hostname": NAME}, **further)

        forged = {"X-Auth-Request-Email": "chief@example.org", "X-Auth-Request-Groups": "msde-admins"}
        for path in ("/", "/index.html"):
            sent = ask("GET", path, headers=forged)
            assert (sent.status_code, urlsplit(sent.headers["location"]).path) == (302, "/oauth2/sign_in")
        for path in ("/api/session", "/api/images"):
            assert ask("GET", path, headers=forged).status_code == 401
        for path in ("/metrics", "/dicomweb/studies"):
            assert ask("GET", path, headers=forged).status_code in (401, 404)
        assert ask("GET", "/metrics", headers={**forged, **process.headers}).status_code == 200
        assert ask("GET", "/", "jane@example.org").text.startswith("<!doctype html>")
        jane = ask("GET", "/api/session", "jane@example.org", headers=forged).json()
        assert (jane["user"], jane["role"], jane["sign_out"]) == ("jane@example.org", "reader", "/oauth2/sign_out")
        assert ask("GET", "/api/session", "chief@example.org").json()["role"] == "admin"
        refused = ask("GET", "/api/session", "joe@example.org")
        assert (refused.status_code, "none of the groups" in refused.json()["detail"]) == (403, True)
        for csrf, status in (("", 403), (jane["csrf"], 202)):
            headers = {"X-CSRF-Token": csrf, "Content-Type": "application/octet-stream"}
            sent = ask("POST", "/api/images?name=a.png", "jane@example.org", content=png(1), headers=headers)
            assert sent.status_code == status, sent.text
        assert ask("GET", "/api/audit", "jane@example.org").status_code == 403
        rows = ask("GET", "/api/audit?action=upload", "chief@example.org").json()["rows"]
        assert [row["user"] for row in rows] == ["jane@example.org"]
        assert ask("GET", "/", "jane@example.org").headers["strict-transport-security"]
