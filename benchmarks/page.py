"""The page over a full worklist: when Chromium first paints, when the rows are there, and how long a click takes.

Run: python benchmarks/page.py MODEL.msde [--rows 10000] [--turns 5]
Rows are written into the database of a fresh folder, with one small picture each, identifiers of two images a study and
p-values as normals have them; then `msde serve --identifiers` is started, and a browser that has signed in opens the
page with an empty cache. Times are from the start of navigation: paints as Chromium states them, and the page's own
mark when the first rows stand in the table. Then it is sorted, filtered, searched by name and put together by study
and by patient: from the click to the frame in which the new rows are, without the quarter of a second for which the
page waits after something is typed. Beside other work the processor time of the service says more.
"""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image as Pictures
from playwright.sync_api import Page, sync_playwright
from sqlalchemy import insert, select

from msde.serve.identifiers import Identifiers, Vault
from msde.serve.settings import Settings
from msde.serve.storage.database import Database
from msde.serve.storage.tables import Image, Model, Score, SealedIdentifiers

SIDE = 64
CHUNK = 500
TIMES = """() => {
  const paint = Object.fromEntries(performance.getEntriesByType('paint').map(entry => [entry.name, entry.startTime]));
  const [rows] = performance.getEntriesByName('worklist');
  return [paint['first-paint'], paint['first-contentful-paint'], rows.startTime];
}"""
PAUSE = 250.0  # ms for which the page waits after something is typed
ACTS = {
    "sorted by score": "document.querySelector('[data-sort=anomaly_score] button').click()",
    "sorted by name": "document.querySelector('[data-sort=name] button').click()",
    "the flagged": "set('flagged', 'true')",
    "all again": "set('flagged', '')",
    "searched by name": "set('search', 'Patient-0042')",
    "not searched": "set('search', '')",
    "by study": "set('group', 'study')",
    "by patient": "set('group', 'patient')",
}
TIMED = """act => new Promise(resolve => {
  const set = (name, value) => {
    const field = document.getElementById('filters').elements[name];
    field.value = value;
    field.dispatchEvent(new Event('input', {bubbles: true}));
  };
  const begun = performance.now();
  const seen = new MutationObserver(() => {
    seen.disconnect();
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - begun)));
  });
  seen.observe(document.getElementById('rows'), {childList: true});
  eval(act);
})"""


def fill(settings: Settings, n: int) -> None:
    """Write images with results, as if they had been uploaded and scored."""
    rng = np.random.default_rng(0)
    database = Database(settings.url)
    with database.write() as session:
        model = session.scalars(select(Model)).one()
        vault = Vault.of(settings)
        images, scores, sealed = [], [], []
        for number in range(1, n + 1):
            file = BytesIO()
            Pictures.fromarray(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(file, "PNG")
            content = file.getvalue()
            digest = hashlib.sha256(content).hexdigest()
            path = settings.folder / "images" / digest[:2] / f"{digest}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            image = {"id": number, "digest": digest, "suffix": ".png", "name": f"study-{number:06}.png"}
            whose = {"patient": f"{number // 4:032x}", "study": f"{number // 2:032x}", "body_part": ""}
            images.append({**image, **whose, "format": "PNG", "modality": "other", "origin": "rest"})
            named = Identifiers(f"Patient-{number // 4:04}, Anna", str(number // 4), "1960", "F", str(number // 2))
            sealed.append({"image_id": number, **vault.seal(named, digest)._asdict()})
            of = {"image_id": number, "model_id": model.id, "version_id": model.version_id}
            p_value = float(rng.integers(1, 311)) / 310
            scores.append({**of, "shown": True, "state": "scored", "anomaly_score": 1 / p_value, "p_value": p_value})
        for table, rows in ((Image, images), (Score, scores), (SealedIdentifiers, sealed)):
            for start in range(0, n, CHUNK):
                session.execute(insert(table), rows[start : start + CHUNK])
    database.close()


def start(settings: Settings) -> subprocess.Popen[bytes]:
    """Start the service and wait until it answers."""
    command = [Path(sys.executable).with_name("msde"), "serve", *settings.models, "--data", settings.data]
    options = ["--port", str(settings.port), "--identifiers"]
    process = subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL)
    while True:
        try:
            connection = HTTPConnection("127.0.0.1", settings.port, timeout=60)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return process
        except OSError:
            if process.poll() is not None:
                raise SystemExit("the service did not start") from None
        time.sleep(0.1)


def visit(page: Page, settings: Settings) -> list[float]:
    """Open the page and read its times, in milliseconds."""
    page.goto(f"http://127.0.0.1:{settings.port}/")
    page.wait_for_selector("#rows tr")
    page.wait_for_timeout(500)
    return page.evaluate(TIMES)


def worked(process: subprocess.Popen[bytes]) -> float:
    """Return how long a process has had a core, in milliseconds."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return 1000 * sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def act(page: Page, process: subprocess.Popen[bytes]) -> list[tuple[float, float]]:
    """Sort, filter and group; return how long each took and the service worked for it, in milliseconds."""
    times = []
    for script in ACTS.values():
        before = worked(process)
        took = page.evaluate(TIMED, script)
        times.append((took - PAUSE if "search" in script else took, worked(process) - before))
        page.wait_for_timeout(700)
    return times


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        settings = Settings(data=folder, models=(str(given.model),), port=port, identifiers=True)
        process = start(settings)  # makes tables, tokens and the model's row
        process.terminate()
        process.wait()
        fill(settings, given.rows)
        process = start(settings)
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
                times, acts = [], []
                for _ in range(given.turns):
                    context = browser.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=True)
                    token = (Path(folder) / "admin-token").read_text().strip()
                    context.request.post(f"http://127.0.0.1:{port}/api/session", data={"token": token})
                    page = context.new_page()
                    times.append(visit(page, settings))
                    acts.append(act(page, process))
                    context.close()
                browser.close()
        finally:
            process.terminate()
            process.wait()
    first, contentful, rows = np.median(times, axis=0)
    worst = np.max(times, axis=0)
    print(
        f"{given.rows:,} rows, {given.turns} visits with an empty cache: first paint {first:.0f} ms, first contentful"
        f" paint {contentful:.0f} ms, rows in the table {rows:.0f} ms (medians; slowest {worst[0]:.0f}, {worst[1]:.0f},"
        f" {worst[2]:.0f} ms)"
    )
    for name, median, slowest in zip(ACTS, np.median(acts, axis=0), np.max(acts, axis=0), strict=True):
        print(f"{name}: {median[0]:.0f} ms, the service's work {median[1]:.0f} ms (slowest {slowest[0]:.0f} ms)")


if __name__ == "__main__":
    main()
