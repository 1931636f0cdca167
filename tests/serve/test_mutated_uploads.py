"""Whatever is uploaded, it is taken or refused: no damaged file, zip, form or DICOM object leads to a 500.

MSDE_UPLOADS is the number of damaged uploads, MSDE_FUZZ_SEED the first of their numbers.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.images.fuzz import corpus, mutated
from tests.requirements import THOROUGH
from tests.serve.conftest import Served
from tests.serve.intake.test_uploads import streamed, zipped
from tests.serve.pacs.test_multipart import KIND, encoded

COUNT = int(os.environ.get("MSDE_UPLOADS", "2000" if THOROUGH else "400"))
SEED = int(os.environ.get("MSDE_FUZZ_SEED", "0"))
SMALL = 20_000
READERS = ("raster", "tiff", "dicom", "syntaxes", "nifti")
FORM = "multipart/form-data; boundary=XyZ"
FINE = {200, 202, 400, 409, 413, 415, 422}

Upload = tuple[str, bytes, str]


def uploads(files: dict[str, bytes], rng: random.Random) -> Upload:
    """Make one upload of one or a few files, damaged in themselves or as a whole."""
    names = rng.sample(sorted(files), 3)
    content = files[names[0]]
    some = {name: files[name] for name in names}
    parts = b"".join(
        b'--XyZ\r\nContent-Disposition: form-data; name="files"; filename="'
        + name.encode()
        + b'"\r\n\r\n'
        + one
        + b"\r\n"
        for name, one in some.items()
    )
    dicom = [one for name, one in files.items() if name.endswith(".dcm")]
    kinds: list[Callable[[], Upload]] = [
        lambda: ("/api/images", mutated(content, rng), "application/octet-stream"),
        lambda: ("/api/score", mutated(content, rng), "application/octet-stream"),
        lambda: ("/api/images", mutated(rng.choice((zipped, streamed))(some), rng), "application/octet-stream"),
        lambda: ("/api/images", zipped({name: mutated(one, rng) for name, one in some.items()}), ""),
        lambda: ("/api/images", mutated(parts + b"--XyZ--\r\n", rng), FORM),
        lambda: ("/dicomweb/studies", encoded([mutated(rng.choice(dicom), rng)]), KIND),
        lambda: ("/dicomweb/studies", mutated(encoded([rng.choice(dicom)]), rng), KIND),
    ]
    return rng.choice(kinds)()


def ask(served: Served, count: int) -> Counter[int]:
    files = {
        f"{reader}-{name}": content
        for reader in READERS
        for name, content in corpus(reader).items()
        if len(content) <= SMALL
    }
    told: Counter[int] = Counter()
    for number in range(SEED, SEED + count):
        path, body, kind = uploads(files, random.Random(number))  # noqa: S311 - no secret
        answer = served.client.post(path, content=body, headers={"content-type": kind} if kind else {})
        assert answer.status_code in FINE, f"{number}: {path} {answer.status_code} {answer.text[:300]}"
        told[answer.status_code] += 1
    return told


def serving(serve: Callable[..., Any], tmp_path: Path) -> Any:
    pacs = tmp_path / "pacs.toml"
    pacs.write_text("[stow]\n")
    return serve(pacs=str(pacs), queue=100_000)


@pytest.mark.slow
def test_no_damaged_upload_leads_to_a_server_error(serve, tmp_path: Path) -> None:
    with serving(serve, tmp_path) as served:
        told = ask(served, COUNT)
        print(f"{COUNT} damaged uploads: {dict(told)}")
        assert told[200] + told[202] > COUNT // 20
        assert sum(told.values()) - told[200] - told[202] > COUNT // 20
        assert {row["state"] for row in served.wait()} <= {"scored", "failed"}
        assert list(served.service.store.incoming.iterdir()) == []
