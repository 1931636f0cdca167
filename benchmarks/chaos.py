"""Everything at once: images come in while the service is killed, its disk fills, its database and archive go away.

Run as root: python -m benchmarks.chaos [--minutes 10] [--database sqlite|postgresql] [--seed 0] [--model MODEL.msde]
Senders by STOW-RS, C-STORE and REST repeat each image until it is acknowledged. Faults come at random: kills, a full
disk (a tmpfs of its own; where that may not be mounted, this fault is left out), the database away, the archive away, a
flood of half-open connections and of bytes that are no image, and the clock put hours forward or back (libfaketime).
At the end all is given back, and what was accepted must have been scored, and what is DICOM sent to a real Orthanc,
once each; the exit status is 1 where it was not. Without a model, one of noise is fitted: only the way is tested.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
from benchmarks.pacs import radiograph
from PIL import Image as Picture
from pydicom import dcmread
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian
from sqlalchemy import func, select
from tests.serve.clock import Clock
from tests.serve.pacs.orthanc import Orthanc, free_port
from tests.serve.postgres import Postgres
from tests.serve.process import Process

from msde import AnomalyModel
from msde.serve.storage.database import Database
from msde.serve.storage.tables import Image, Outgoing, Score

DISK_MEGABYTES = 200
HELD_SECONDS = (2.0, 8.0)
PAUSE_SECONDS = (1.0, 4.0)
SETTLE_SECONDS = 300.0
CONNECTIONS = 300
SENDERS, SENDER_PAUSE = 2, 0.3  # of each way, and seconds between two images
HOUR = 3600


@dataclass
class World:
    """The service, what is around it, and what it has acknowledged."""

    service: Process
    orthanc: Orthanc
    postgres: Postgres | None
    clock: Clock
    disk: Path | None
    dicom_port: int
    over: threading.Event = field(default_factory=threading.Event)
    accepted: list[str] = field(default_factory=list)  # the way of each image

    def ask(
        self, method: str, path: str, content: bytes = b"", kind: str = "application/octet-stream", timeout: float = 30
    ) -> httpx.Response:
        headers = {**self.service.headers, "Content-Type": kind}
        return httpx.request(method, f"{self.service.url}{path}", headers=headers, content=content, timeout=timeout)


# What is sent


def picture(rng: np.random.Generator) -> bytes:
    file = BytesIO()
    Picture.fromarray(rng.integers(0, 255, (64, 64), np.uint8)).save(file, "PNG")
    return file.getvalue()


def by_rest(world: World, rng: np.random.Generator) -> Callable[[], bool]:
    content = picture(rng)
    return lambda: world.ask("POST", "/api/images", content).status_code == 202


def by_stow(world: World, rng: np.random.Generator) -> Callable[[], bool]:
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + _radiograph(rng) + b"\r\n--x--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=x'
    return lambda: world.ask("POST", "/dicomweb/studies", body, kind).status_code == 200


def by_dimse(world: World, rng: np.random.Generator) -> Callable[[], bool]:
    from pynetdicom import AE

    dataset = dcmread(BytesIO(_radiograph(rng)))

    def store() -> bool:
        ae = AE("CHAOS")
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
        ae.add_requested_context(ComputedRadiographyImageStorage, ExplicitVRLittleEndian)
        association = ae.associate("127.0.0.1", world.dicom_port, ae_title="MSDE")
        if not association.is_established:
            return False
        try:
            return bool(association.send_c_store(dataset).get("Status", -1) == 0)
        finally:
            association.release()

    return store


def _radiograph(rng: np.random.Generator) -> bytes:
    return radiograph(rng.integers(0, 255, (48, 64), np.uint8))


WAYS = {"rest": by_rest, "stow": by_stow, "dimse": by_dimse}


def sender(world: World, way: str, seed: int) -> None:
    """Send one image after the other, each until it is acknowledged, the last one too."""
    rng = np.random.default_rng(seed)
    while not world.over.is_set():
        send = WAYS[way](world, rng)
        while True:
            with suppress(httpx.HTTPError, OSError, ValueError, RuntimeError):
                if send():
                    break
            time.sleep(SENDER_PAUSE)
        world.accepted.append(way)
        time.sleep(SENDER_PAUSE)


# What is done to it


@contextmanager
def killed(world: World, rng: random.Random) -> Iterator[None]:
    world.service.kill()
    yield
    world.service.launch()  # whatever else is amiss at that moment


@contextmanager
def full_disk(world: World, rng: random.Random) -> Iterator[None]:
    assert world.disk is not None  # noqa: S101 - for the type checker
    filler = world.disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(100_000)):
            pass
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def database_away(world: World, rng: random.Random) -> Iterator[None]:
    assert world.postgres is not None  # noqa: S101 - for the type checker
    world.postgres.kill()
    yield
    world.postgres.start()


@contextmanager
def archive_away(world: World, rng: random.Random) -> Iterator[None]:
    world.orthanc.kill()
    yield
    world.orthanc.start()


@contextmanager
def flooded(world: World, rng: random.Random) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            with suppress(OSError):
                one = stack.enter_context(socket.create_connection(("127.0.0.1", world.service.port), timeout=1))
                one.sendall(b"POST /api/images HTTP/1.1\r\nHost: localhost\r\n")
        for _ in range(30):
            with suppress(httpx.HTTPError):
                world.ask("POST", "/api/images", rng.randbytes(100_000), timeout=2)
        yield


@contextmanager
def clock_put(world: World, rng: random.Random) -> Iterator[None]:
    world.clock.put(rng.choice((-400 * 24, -26, -2, 2, 26, 400 * 24)) * HOUR + rng.randrange(HOUR))
    yield
    if rng.random() < 0.5:  # else it stays until the next time
        world.clock.put(0)


Fault = Callable[[World, random.Random], AbstractContextManager[None]]


def faults(world: World) -> dict[str, Fault]:
    found: dict[str, Fault] = {
        "kill": killed,
        "archive away": archive_away,
        "flood": flooded,
        "clock": clock_put,
    }
    if world.disk is not None:
        found["full disk"] = full_disk
    if world.postgres is not None:
        found["database away"] = database_away
    return found


def torment(world: World, minutes: float, seed: int) -> Counter[str]:
    """Do one thing after the other, now and then two at a time, each kind as often as any other."""
    rng, done, until = random.Random(seed), Counter[str](), time.monotonic() + 60 * minutes  # noqa: S311 - no secret
    known, order = faults(world), list[str]()
    while time.monotonic() < until:
        with ExitStack() as stack:
            for _ in range(rng.choice((1, 1, 2))):
                if not order:
                    order = rng.sample(sorted(known), len(known))
                name = order.pop()
                stack.enter_context(known[name](world, rng))
                done[name] += 1
            time.sleep(rng.uniform(*HELD_SECONDS))
        world.service.keep_up()
        time.sleep(rng.uniform(*PAUSE_SECONDS))
    world.clock.put(0)
    return done


# What came of it


def settle(world: World, database: Database) -> float:
    """Wait until nothing is under way, or nothing gets on for so long that it hangs; return after how many seconds."""
    start = moved = time.monotonic()
    left = None
    while time.monotonic() - moved < SETTLE_SECONDS:
        with suppress(httpx.HTTPError), database.read() as session:
            world.ask("POST", "/api/pacs/retry")  # an archive that was away is asked again at once
            waiting = select(func.count()).select_from(Score).where(Score.state.in_(("queued", "running")))
            unsent = select(func.count()).select_from(Outgoing).where(Outgoing.state != "sent")
            before, left = left, (session.scalar(waiting), session.scalar(unsent))
            if left == (0, 0):
                break
            if left != before:
                moved = time.monotonic()
        time.sleep(2)
    return time.monotonic() - start


def tell(world: World, database: Database) -> list[str]:
    """Compare what was accepted with images, scores, results sent and reports found; return what does not fit."""
    with database.read() as session:
        images = session.scalar(select(func.count()).select_from(Image)) or 0
        states = Counter(session.scalars(select(Score.state)))
        sent = Counter(session.scalars(select(Outgoing.state)))
    reports = Counter(one["uid"] for one in world.orthanc.instances() if one["modality"] == "SR")
    ways = Counter(world.accepted)
    accepted, dicom = len(world.accepted), ways["stow"] + ways["dimse"]
    print(f"accepted: {accepted}, {', '.join(f'{n} by {way}' for way, n in sorted(ways.items()))}")
    print(f"images: {images}; scores: {dict(states)}; results of {dicom} DICOM images: {dict(sent)}")
    print(f"reports in the archive: {len(reports)}")
    wrong = {
        "images that are not those accepted": images - accepted,
        "scores that are not one an image": states["scored"] - accepted,
        "images that failed or hang": sum(states.values()) - states["scored"],
        "results that are not one a DICOM image": sent["sent"] - dicom,
        "results that were not sent": sum(sent.values()) - sent["sent"],
        "reports that are not one a DICOM image": len(reports) - dicom,
        "reports that are doubled": sum(reports.values()) - len(reports),
    }
    return [f"{what}: {n:+d}" for what, n in wrong.items() if n]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a small disk; None where that is not permitted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m,mode=0700", "tmpfs", folder]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        print("no disk of its own can be mounted, so it is not filled")
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def world_of(folder: Path, model: Path, kind: str) -> Iterator[tuple[World, Database]]:
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(folder / "disk"))
        postgres = Postgres() if kind == "postgresql" else None
        if postgres is not None:
            stack.callback(postgres.stop)
        orthanc = stack.enter_context(Orthanc(folder / "orthanc"))
        port, pacs, data = free_port(), folder / "pacs.toml", (folder if disk is None else disk) / "data"
        pacs.write_text(f'[[pacs]]\nname = "orthanc"\nurl = "{orthanc.url}"\n[stow]\n[listen]\nport = {port}\n')
        url = postgres.database() if postgres else f"sqlite:///{data / 'msde.db'}"
        clock = Clock(folder / "clock")
        options = ["--pacs", str(pacs), *(("--database", url) if postgres else ())]
        service = Process(model, data, *options, environment=clock.environment)
        service.log = folder / "serve.log"
        with service:
            yield World(service, orthanc, postgres, clock, disk, port), Database(url)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep-log", type=Path, help="where the service's log goes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = given.model or folder / "noise.msde"
        if given.model is None:
            noise = np.random.default_rng(5).uniform(size=(12, 64, 64))
            AnomalyModel().fit(noise).save(model)
        with world_of(folder, model, given.database) as (world, database):
            threads = [
                threading.Thread(target=sender, args=(world, way, 1000 * given.seed + number))
                for number, way in enumerate([*WAYS] * SENDERS)
            ]
            for thread in threads:
                thread.start()
            try:
                done = torment(world, given.minutes, given.seed)
            finally:
                world.over.set()
            for thread in threads:
                thread.join(SETTLE_SECONDS)
            hanging = [thread for thread in threads if thread.is_alive()]
            seconds = settle(world, database)
            print(f"{given.minutes:g} minutes, {given.database}, seed {given.seed}: {dict(sorted(done.items()))}")
            wrong = tell(world, database) + [f"senders that are still refused: {len(hanging)}"] * bool(hanging)
            print(f"settled after {seconds:.0f} s")
            if given.keep_log:
                given.keep_log.write_bytes(world.service.log.read_bytes())
            database.close()
    print("\n".join(wrong) or "accepted = scored = sent, once each")
    sys.stdout.flush()
    os._exit(bool(wrong))  # a sender that hangs must not keep the process


if __name__ == "__main__":
    main()
