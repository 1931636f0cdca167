"""The pictures of docs/: the demo's, the report's, and the service's page, taken in Chromium with the demo's data.

Run: python tools/pictures.py     (draws them anew; needs the extras demo, serve and dev, and Chromium)
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
DESK = {"width": 1280, "height": 800}
WIDEST = 1280
MSDE = (sys.executable, "-m", "msde")
WAITING = """[...document.images].filter(image => {
    const place = image.getBoundingClientRect();
    const seen = place.width && place.bottom > 0 && place.top < innerHeight;
    return seen && !(image.complete && image.naturalWidth);
}).length"""


def keep(name: str, shot: Path) -> None:
    """Store a picture as WebP, small enough for a page."""
    with Image.open(shot) as picture:
        picture = picture.convert("RGB")
        picture.thumbnail((WIDEST, 4 * WIDEST), Image.Resampling.LANCZOS)
        picture.save(PICTURES / f"{name}.webp", quality=82, method=6)


@contextmanager
def service(folder: Path) -> Iterator[tuple[str, str]]:
    """Run the service on the demo's model; give its address and token."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--data", folder / "service", "--normals", folder / "data/train/normal", "--port", port]
    process = subprocess.Popen([*MSDE, "serve", folder / "model.msde", *map(str, options)], stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/readyz").close()  # noqa: S310 - our own service
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        yield url, (folder / "service" / "admin-token").read_text().strip()
    finally:
        process.terminate()
        process.wait()


def upload(url: str, token: str, images: list[Path]) -> None:
    """Send images, and wait until all are scored."""
    bearer = {"Authorization": f"Bearer {token}"}
    for image in images:
        name = f"{image.parent.name}-{image.name}"
        request = urllib.request.Request(f"{url}/api/images?name={name}", image.read_bytes(), bearer)  # noqa: S310
        urllib.request.urlopen(request).close()  # noqa: S310
    while True:
        waiting = urllib.request.Request(f"{url}/api/images?state=queued", headers=bearer)  # noqa: S310
        with urllib.request.urlopen(waiting) as answer:  # noqa: S310
            if b'"total":0' in answer.read():
                return
        time.sleep(0.5)


def take(page: Any, name: str, folder: Path, **options: Any) -> None:
    """Take a picture of what a page shows."""
    for _ in range(240):
        page.wait_for_timeout(500)
        if page.evaluate(WAITING) == 0:
            break
    page.wait_for_timeout(500)
    shot = folder / f"{name}.png"
    page.screenshot(path=str(shot), **options)
    keep(name, shot)


def main() -> None:
    from playwright.sync_api import sync_playwright

    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made, sync_playwright() as driver:
        folder = Path(made)
        subprocess.run([*MSDE, "demo", "-o", str(folder), "--no-open"], check=True, stdout=subprocess.DEVNULL)
        keep("demo", folder / "cases.png")
        program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport=DESK, color_scheme="light")
        page.goto((folder / "report.html").as_uri())
        take(page, "report", folder)
        test = folder / "data" / "test"
        images = [*sorted((test / "abnormal").iterdir())[:18], *sorted((test / "normal").iterdir())[:30]]
        with service(folder) as (url, token):
            upload(url, token, images)
            page.goto(url)
            page.fill("#token", token)
            page.keyboard.press("Enter")
            page.wait_for_selector("#rows tr")
            page.wait_for_timeout(3000)  # pictures are asked for as they come into view
            take(page, "worklist", folder)
            page.click("#threshold summary")
            take(page, "threshold", folder)
        browser.close()


if __name__ == "__main__":
    main()
