"""Names of patients: read from headers, encrypted where they are kept, gone with the picture, and nowhere else."""

from __future__ import annotations

import secrets
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import func, select, update
from tests.images.medical import dicom_bytes
from tests.patience import wait_until
from tests.pictures import disc
from tests.serve.test_erasure import age, files_with

from msde.errors import DataError
from msde.serve.erasure import purge
from msde.serve.identifiers import Identifiers, Vault
from msde.serve.intake.headers import Headers
from msde.serve.settings import Settings
from msde.serve.storage.tables import Image, SealedIdentifiers

NAME = "Mustermann^Erika^^Dr."
STATED = {
    "SpecificCharacterSet": "ISO_IR 192",
    "PatientName": NAME,
    "PatientID": "PID-4711",
    "PatientBirthDate": "19570912",
    "PatientSex": "F",
    "AccessionNumber": "ACC-99",
    "StudyDate": "20261127",
    "StudyDescription": "Thorax p.a.",
    "StationName": "DX-2",
    "BodyPartExamined": "CHEST",
    "StudyInstanceUID": "1.2.3.4",
    "SeriesInstanceUID": "1.2.3.4.5",
}
READ = Identifiers("Mustermann, Erika Dr.", "PID-4711", "1957", "F", "ACC-99", "2026-11-27", "Thorax p.a.", "DX-2")
SECRETS = (b"Mustermann", b"PID-4711", b"ACC-99", b"Thorax p.a.", b"1.2.3.4")


def stated(seed: int = 1, **further: str) -> bytes:
    values = disc(np.random.default_rng(seed), lesion=False).astype(np.uint16)
    return dicom_bytes(values, **{**STATED, **further})


def n_sealed(served) -> int:
    with served.service.database.read() as session:
        return session.scalar(select(func.count()).select_from(SealedIdentifiers)) or 0


@pytest.mark.parametrize(
    ("name", "spoken"),
    [
        ("Müller^Jörg", "Müller, Jörg"),
        ("=山田^太郎=やまだ^たろう", "山田, 太郎"),
        ("^^^^", ""),
        ("Anonymous", "Anonymous"),
        ("^Erika", "Erika"),
        ("O'Neill^Mary  Ann^^Prof.^MD", "O'Neill, Mary Ann Prof. MD"),
    ],
)
def test_a_name_is_read_as_it_is_spoken(name, spoken, tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(stated(PatientName=name))
    vault = Vault(bytes(32))
    facts = Headers(b"secret", vault).facts(path, "digest")
    assert facts.sealed is not None
    assert vault.open(facts.sealed.content, "digest") == Identifiers(**{**vars(READ), "name": spoken})


def test_a_header_without_anything_of_that_is_no_error(tmp_path):
    path = tmp_path / "a.dcm"
    empty = dict.fromkeys(("PatientName", "PatientID", "PatientBirthDate", "StudyDate"), "")
    path.write_bytes(dicom_bytes(np.zeros((64, 64), np.uint16), **empty))
    vault = Vault(bytes(32))
    facts = Headers(b"secret", vault).facts(path, "digest")
    assert facts.sealed is not None
    assert vault.open(facts.sealed.content, "digest") == Identifiers()
    assert facts.body_part == ""


def test_what_is_sealed_opens_by_its_key_for_its_image_alone():
    vault = Vault(secrets.token_bytes(32))
    sealed, again = (vault.seal(READ, "a") for _ in range(2))
    assert sealed.content != again.content
    assert len(sealed.content) == len(vault.seal(Identifiers(), "a").content)
    assert vault.open(sealed.content, "a") == READ
    altered = bytes([*sealed.content[:-1], sealed.content[-1] ^ 1])
    assert [vault.open(sealed.content, "b"), vault.open(altered, "a")] == [None, None]
    other = Vault(secrets.token_bytes(32))
    assert other.open(sealed.content, "a") is None
    assert other.mark != vault.mark


def test_a_short_key_ends_the_start(tmp_path):
    key = tmp_path / "key"
    key.write_text("abcd")
    settings = Settings(data=str(tmp_path), models=(), identifiers=True, identifiers_key=str(key))
    with pytest.raises(DataError, match="no secret of 32 bytes"):
        Vault.of(settings)


@pytest.mark.slow
def test_identifiers_are_kept_encrypted_go_with_the_picture_and_with_the_option(serve, url, tmp_path):
    data, contents = tmp_path / "data", [stated(seed) for seed in range(3)]
    with serve(database=url) as served:
        first = served.send(contents[0], "a.dcm")
        served.wait()
        assert n_sealed(served) == 0
        assert not (data / "identifiers-key").exists()
    with serve(database=url, identifiers=True) as served:
        wait_until(lambda: n_sealed(served) == 1, "the earlier image's header to be read")
        second, third, again = (served.send(contents[number], f"{number}.dcm") for number in (1, 2, 1))
        served.wait()
        assert (second, n_sealed(served)) == (again, 3)
        assert served.client.delete(f"/api/images/{third}").status_code == 204
        assert n_sealed(served) == 2
        age(served, first, 2)
        assert purge(served.service.database, served.service.store, timedelta(days=1), "test") == 1
        with served.service.database.read() as session:
            assert session.scalars(select(SealedIdentifiers.image_id)).all() == [second]
            gone = session.get_one(Image, first)
            assert (gone.patient, gone.study, gone.series) == (None, None, None)
        served.send(contents[0], "a.dcm")
        assert n_sealed(served) == 2
        for secret in SECRETS:
            assert all("images" in path.parts for path in files_with(data, secret)), secret
    key = (data / "identifiers-key").read_text()
    (data / "identifiers-key").unlink()
    with serve(database=url, identifiers=True) as served:
        wait_until(lambda: n_sealed(served) == 2, "headers to be read again for a new key")
        with served.service.database.read() as session:
            marks = set(session.scalars(select(SealedIdentifiers.mark)))
        assert marks == {served.service.headers.vault.mark} != {Vault(bytes.fromhex(key)).mark}
    with serve(database=url) as served:
        assert n_sealed(served) == 0


@pytest.mark.slow
def test_headers_of_images_that_an_earlier_version_left_are_read(serve, monkeypatch):
    with serve() as served:
        number = served.send(stated(1), "a.dcm")
        served.wait()
        empty = dict.fromkeys(("patient", "study", "series", "body_part"))
        with served.service.database.write() as session:
            before = session.get_one(Image, number)
            known = {name: getattr(before, name) for name in empty}
            session.execute(update(Image).values(empty))
    assert known["body_part"] == "CHEST"
    assert len({known["patient"], known["study"], known["series"]}) == 3
    with serve() as served:

        def now() -> dict:
            with served.service.database.read() as session:
                image = session.get_one(Image, number)
                return {name: getattr(image, name) for name in known}

        wait_until(lambda: now() == known, "what was known before")
