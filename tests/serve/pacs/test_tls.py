"""TLS to the archive: whom it is believed, and what it is shown."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.patience import wait_until
from tests.serve.pacs.certificates import Authority
from tests.serve.pacs.conftest import n_rows, radiographs
from tests.serve.pacs.impostor import forgetful, impostor
from tests.serve.pacs.orthanc import Orthanc
from tests.serve.pacs.tls_front import tls_before

from msde.serve.pacs.dicomweb import Pacs, PacsDownError
from msde.serve.pacs.settings import PacsFile, PacsSettings
from msde.serve.storage.tables import Image, Outgoing

Serving = Callable[..., Any]


def server_of(authority: Authority, name: str = "archive", address: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate(name, address)[0])
    return context


def test_an_archive_is_believed_by_its_authority_and_name_alone(tmp_path: Path) -> None:
    ours, other = Authority(tmp_path), Authority(tmp_path, "other")
    with impostor(forgetful, server_of(ours)) as url:
        assert url.startswith("https:")
        Pacs(PacsSettings(url=url, ca=ours.file)).check()
        for trusted in (None, other.file):
            with pytest.raises(PacsDownError, match="its certificate is not trusted; give its authority as ca"):
                Pacs(PacsSettings(url=url, ca=trusted)).check()
    with (
        impostor(forgetful, server_of(ours, "elsewhere", "192.0.2.1")) as url,
        pytest.raises(PacsDownError, match="its certificate is not trusted"),
    ):
        Pacs(PacsSettings(url=url, ca=ours.file)).check()


def test_an_archive_that_wants_a_certificate_is_shown_it(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    context = server_of(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.file)
    authority.certificate("msde")
    stranger.certificate("strange")
    with impostor(forgetful, context) as url:
        for name, welcome in (("msde", True), ("strange", False), ("", False)):
            file = tmp_path / "pacs.toml"
            shown = f'certificate = "{name}.pem"\nkey = "{name}.key"' if name else ""
            file.write_text(f'[[pacs]]\nurl = "{url}"\nca = "authority.pem"\n{shown}')
            pacs = Pacs(PacsFile.read(file).pacs[0])
            if welcome:
                pacs.check()
            else:
                with pytest.raises(PacsDownError):
                    pacs.check()


@pytest.mark.slow
def test_images_come_from_an_orthanc_by_tls_and_results_go_there(
    serving: Serving, orthanc: Orthanc, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    authority.certificate("msde")
    context = server_of(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.file)
    for file in radiographs(3):
        orthanc.upload(file)
    with tls_before(orthanc.port, context) as port:
        trusted = f'ca = "{authority.file}"\ncertificate = "{tmp_path / "msde.pem"}"\nkey = "{tmp_path / "msde.key"}"'
        with serving(f'[[pacs]]\nurl = "https://127.0.0.1:{port}/dicom-web"\npoll_seconds = 0.5\n{trusted}') as served:
            wait_until(lambda: n_rows(served, Outgoing, Outgoing.state == "sent") == 3, "three results")
            assert n_rows(served, Image) == 3
        assert sum(one["modality"] == "SR" for one in orthanc.instances()) == 3
