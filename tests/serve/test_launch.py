"""The command itself: kills at any moment, graceful ends, several processes."""

import io
import os
import platform
import random
import socket
import stat
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from tests.images.medical import ct_slice
from tests.patience import PATIENCE, wait_until
from tests.serve.conftest import png
from tests.serve.process import Process

from msde.cli.serve import serve
from msde.errors import MSDEError
from msde.serve import launch

pytestmark = pytest.mark.slow

COUNT = """
import ctypes, os, re, threading
from msde.serve.memory import keep_little
if {shared}:
    assert keep_little() and os.environ["MALLOC_ARENA_MAX"] == "2"
libc = ctypes.CDLL(None)
libc.malloc.restype, wait = ctypes.c_void_p, threading.Barrier(9)
def work():
    libc.malloc(1000)
    wait.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
wait.wait()
file = libc.tmpfile
file.restype = ctypes.c_void_p
stream = ctypes.c_void_p(file())
libc.malloc_info(0, stream)
libc.rewind(stream)
text = ctypes.create_string_buffer(1_000_000)
libc.fread(text, 1, 999_999, stream)
print(len(re.findall(b"<heap nr", text.value)))
"""


def longer_than(items: list[int], before: int) -> bool:
    return len(items) > before


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_lost_or_doubled_by_kills(disc_model, tmp_path, workers):
    with Process(disc_model, tmp_path / "data", "--workers", str(workers)) as process:
        accepted: list[int] = []
        over = threading.Event()

        def send() -> None:
            seed, answered = 0, True
            while not (over.is_set() and answered):
                answered = False
                try:
                    answer = process.ask("POST", "/api/images", content=png(seed))
                except httpx.TransportError:
                    time.sleep(0.05)  # the same again, as a client does that was not answered
                    continue
                if answer.status_code == 202:
                    accepted.append(answer.json()["images"][0]["id"])
                    seed, answered = seed + 1, True

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        moments = random.Random(3)  # noqa: S311
        for _ in range(3):
            wait_until(partial(longer_than, accepted, len(accepted)), "an image that is taken")
            time.sleep(moments.uniform(0, 0.3))
            process.kill()
            process.start()
        over.set()
        sender.join()
        rows = process.rows()
        status = process.stop()
        assert sorted(row["id"] for row in rows) == sorted(accepted)
        assert len(set(accepted)) == len(accepted) > 0
        assert {row["state"] for row in rows} == {"scored"}
        assert status in (0, -15)


def test_workers_add_up_their_metrics(disc_model, tmp_path):
    with Process(disc_model, tmp_path / "data", "--workers", "2") as process:
        for seed in range(8):
            assert process.ask("POST", "/api/images", content=png(seed)).status_code == 202
        process.rows()
        text = process.ask("GET", "/metrics").text
        process.stop()
        assert process.log.read_text().count(f"msde: {process.url}/ (token: ") == 1
    assert 'msde_images_received_total{origin="rest"} 8.0' in text
    assert 'msde_images_scored_total{modality="other",outcome="scored"} 8.0' in text
    assert 'msde_build_info{version="' in text


def test_the_address_is_told_once_it_is_listened_at(tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        teller = threading.Thread(target=launch._tell_address, args=("0.0.0.0", port, tmp_path), daemon=True)  # noqa: S104
        teller.start()
        teller.join(0.3)
        assert teller.is_alive()
        assert capsys.readouterr().err == ""
        taken.listen()
        teller.join(PATIENCE)
        assert capsys.readouterr().err == f"msde: http://0.0.0.0:{port}/\n"  # and no token that is not there
        with pytest.raises(MSDEError, match=r"cannot listen at http://127.0.0.1:\d+/ \(Address already in use\)"):
            launch.free_port("127.0.0.1", port)
    with pytest.raises(MSDEError, match=r"cannot listen at http://nowhere.invalid:8765/"):
        launch.free_port("nowhere.invalid", 8765)
    assert launch.free_port("::1", 0) > 0


@pytest.mark.parametrize("workers", [1, 2])
def test_whatever_the_umask_nobody_else_may_read_what_is_kept(disc_model, tmp_path, workers):
    earlier = tmp_path / "data" / "images" / "ab"
    earlier.mkdir(parents=True, mode=0o755)
    (tmp_path / "data" / "jane.token").write_text("left by somebody")
    with Process(disc_model, tmp_path / "data", "--workers", str(workers), umask=0) as process:
        zipped = io.BytesIO()
        with zipfile.ZipFile(zipped, "w") as archive:
            for slice_ in range(3):
                pixels = np.full((32, 32), slice_, np.uint16)
                archive.writestr(f"{slice_}.dcm", ct_slice(pixels, slice_, "1.2.3", slice_))
        for content in (*(png(seed) for seed in range(20)), zipped.getvalue()):
            assert process.ask("POST", "/api/images", content=content).status_code == 202
        for row in process.rows():
            process.ask("POST", f"/api/images/{row['id']}/verdicts", json={"verdict": "normal"})
        made = process.ask("POST", "/api/models/discs/recalibrate", json={"alpha": 0.1})
        assert made.status_code == 201, made.text
        process.ask("POST", "/api/score", content=png(99))
        modes = modes_below(tmp_path / "data")
        process.stop()
    assert len(modes) > 40
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}
    assert modes[tmp_path / "data"] == 0o700


def modes_below(folder: Path) -> dict[Path, int]:
    modes = {}
    for path in [folder, *folder.rglob("*")]:
        with suppress(FileNotFoundError):
            modes[path] = stat.S_IMODE(path.lstat().st_mode)
    return modes


def test_two_models_of_one_name_are_refused(disc_model, tmp_path):
    result = CliRunner().invoke(serve, [str(disc_model), str(disc_model), "--data", str(tmp_path)])
    assert "two models have the same name" in str(result.exception)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the arenas are glibc's")
@pytest.mark.parametrize("shared", [True, False])
def test_threads_share_arenas_where_the_service_says_so(shared, monkeypatch):
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    done = subprocess.run([sys.executable, "-c", COUNT.format(shared=shared)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (int(done.stdout) <= 2) is shared
