"""The page's own viewport beside Cornerstone3D: what each loads, and when its first picture is seen.

Run: python benchmarks/viewport.py [--turns 7]     (needs node, npm with its registry, Chromium, and the extra dev)
Both show the same gray picture of 512 x 512 in 16 bits from one small server on loopback: the page's modules in the
page's own HTML, and a bundle, minified by esbuild, of Cornerstone3D's stack viewport with the tools that the page has
(window, pan, zoom, slices, length, region). A turn begins with an empty cache, times with navigation.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import tempfile
import threading
from argparse import ArgumentParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

PAGE = Path(str(files("msde.serve"))) / "page"
PACKAGES = ("@cornerstonejs/core@5.14.0", "@cornerstonejs/tools@5.14.0", "esbuild@0.28.2", "events@3.3.0", "url@0.11.4")
VIEWPORT = ("viewport", "picture", "overlay", "slices", "marks", "comparison", "api", "dom", "words")
SIDE = 512
MARK = "picture"
OURS = """
import { Viewer } from "./viewer.js";
const fail = (error) => { throw error; };
const row = await (await fetch("api/images/1")).json();
const viewer = new Viewer({ changed: () => {}, removed: () => {}, failed: fail });
viewer.show(row, { name: "m", version: 1, curve: [] }, "");
const seen = () => {
  const image = document.querySelector("#layers img");
  const mark = () => performance.mark("MARK");
  if (image?.complete && image.naturalWidth) requestAnimationFrame(() => requestAnimationFrame(mark));
  else requestAnimationFrame(seen);
};
seen();
""".replace("MARK", MARK)
THEIRS = """
import * as core from "@cornerstonejs/core";
import * as tools from "@cornerstonejs/tools";
const load = (imageId) => {
  const promise = fetch("api/images/1/samples").then((answer) => answer.arrayBuffer()).then((buffer) => {
    const values = new Uint16Array(buffer);
    return {
      imageId, minPixelValue: 0, maxPixelValue: 65535, slope: 1, intercept: 0, windowCenter: 32768, windowWidth: 65536,
      getPixelData: () => values, rows: SIDE, columns: SIDE, height: SIDE, width: SIDE, color: false, rgba: false,
      numberOfComponents: 1, columnPixelSpacing: 1, rowPixelSpacing: 1, invert: false, sizeInBytes: buffer.byteLength,
      photometricInterpretation: "MONOCHROME2", dataType: "Uint16Array", getCanvas: undefined,
      voxelManager: core.utilities.VoxelManager.createImageVoxelManager({
        width: SIDE, height: SIDE, scalarData: values, numberOfComponents: 1 }),
    };
  });
  return { promise };
};
const facts = {
  imagePixelModule: { pixelRepresentation: 0, bitsAllocated: 16, bitsStored: 16, highBit: 15, samplesPerPixel: 1,
    photometricInterpretation: "MONOCHROME2" },
  generalSeriesModule: { modality: "CT" },
  imagePlaneModule: { imageOrientationPatient: [1, 0, 0, 0, 1, 0], imagePositionPatient: [0, 0, 0],
    pixelSpacing: [1, 1], rowCosines: [1, 0, 0], columnCosines: [0, 1, 0], rowPixelSpacing: 1, columnPixelSpacing: 1,
    rows: SIDE, columns: SIDE, frameOfReferenceUID: "1.2.3" },
  voiLutModule: { windowCenter: [32768], windowWidth: [65536] },
  modalityLutModule: { rescaleSlope: 1, rescaleIntercept: 0 },
};
await core.init();
await tools.init();
core.imageLoader.registerImageLoader("msde", load);
core.metaData.addProvider((type) => facts[type], 1000);
const { WindowLevelTool, PanTool, ZoomTool, StackScrollTool, LengthTool, EllipticalROITool, ToolGroupManager } = tools;
const group = ToolGroupManager.createToolGroup("reading");
for (const tool of [WindowLevelTool, PanTool, ZoomTool, StackScrollTool, LengthTool, EllipticalROITool]) {
  tools.addTool(tool);
  group.addTool(tool.toolName);
}
group.setToolActive(WindowLevelTool.toolName, { bindings: [{ mouseButton: tools.Enums.MouseBindings.Primary }] });
const element = document.getElementById("stage");
const engine = new core.RenderingEngine("engine");
engine.enableElement({ viewportId: "stack", element, type: core.Enums.ViewportType.STACK });
group.addViewport("stack", "engine");
element.addEventListener(core.Enums.Events.IMAGE_RENDERED, () => {
  requestAnimationFrame(() => performance.mark("MARK"));
}, { once: true });
await engine.getViewport("stack").setStack(["msde:1"]);
engine.render();
""".replace("MARK", MARK).replace("SIDE", str(SIDE))
ROW = """{"id": 1, "name": "head", "kind": "image", "format": "DICOM", "modality": "CT", "origin": "rest", "version": 1,
  "arrived": "2026-11-28T00:00:00Z", "state": "scored", "anomaly_score": 1.0, "p_value": 0.5, "words": "",
  "flagged": false, "error": null, "n_parts": 1, "seen_in_training": false, "evidence": null, "verdict": null,
  "threshold": 2.0, "purged": null, "patient": null, "top_parts": [], "verdicts": [], "history": [], "seen": "",
  "range": {"low": 0, "high": 65535, "window": [0, 65535], "unit_bits": 16, "unit": "HU", "windows": []},
  "has_overlay": false, "spacing": null}"""
THEIR_PAGE = """<!doctype html><title>theirs</title><link rel="icon" href="data:,">
<div id="stage" style="width:640px;height:482px"></div><script type="module" src="bundle.js"></script>"""


def bundled(folder: Path) -> bytes:
    """Install Cornerstone3D into a folder and make one file of it."""
    run = {"cwd": folder, "check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    (folder / "package.json").write_text('{"private": true}')
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES], **run)
    (folder / "entry.js").write_text(THEIRS)
    program = folder / "node_modules" / "esbuild" / "bin" / "esbuild"
    options = [
        "--bundle",
        "--minify",
        "--format=esm",
        "--outfile=bundle.js",
        '--define:process.env.NODE_ENV="production"',
    ]
    subprocess.run([str(program), "entry.js", *options], **run)
    return (folder / "bundle.js").read_bytes()


def answers(bundle: bytes) -> dict[str, tuple[str, bytes]]:
    """Everything that the two pages ask for, by path."""
    values = np.add.outer(np.arange(SIDE), np.arange(SIDE)).astype("<u2") * 64
    file = BytesIO()
    Image.fromarray((values >> 8).astype(np.uint8)).save(file, "PNG")
    row = json.loads(ROW) | {"width": SIDE, "height": SIDE}
    plain = (PAGE / "index.html").read_text(encoding="utf-8")
    ours = plain.replace('src="app.js"', 'src="harness.js"').replace('href="icon.svg"', 'href="data:,"')
    found = {
        "/ours": ("text/html", ours.encode()),
        "/theirs": ("text/html", THEIR_PAGE.encode()),
        "/harness.js": ("text/javascript", OURS.encode()),
        "/bundle.js": ("text/javascript", bundle),
        "/api/images/1": ("application/json", json.dumps(row).encode()),
        "/api/images/1/picture": ("image/png", file.getvalue()),
        "/api/images/1/samples": ("application/octet-stream", values.tobytes()),
    }
    kinds = {".js": "text/javascript", ".css": "text/css"}
    found |= {
        f"/{path.name}": (kinds[path.suffix], path.read_bytes()) for path in PAGE.iterdir() if path.suffix in kinds
    }
    return found


def serving(found: dict[str, tuple[str, bytes]]) -> ThreadingHTTPServer:
    """Serve them on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, body = found.get(self.path.partition("?")[0], ("text/plain", b""))
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def seen_after(browser: Browser, address: str) -> tuple[float, float]:
    """Open a page in a fresh profile; milliseconds to its first paint and to its picture."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.goto(address)
    page.wait_for_function(f"performance.getEntriesByName('{MARK}').length", timeout=120_000)
    read = "['first-paint', '{}'].map(name => performance.getEntriesByName(name)[0]?.startTime ?? NaN)"
    first, picture = page.evaluate(read.format(MARK))
    context.close()
    return first, picture


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--turns", type=int, default=7)
    turns = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as folder:
        bundle = bundled(Path(folder))
    # What the page would still need beside Cornerstone3D is counted on neither side.
    own = [(PAGE / f"{name}.js").read_bytes() for name in VIEWPORT]
    server = serving(answers(bundle))
    address = f"http://127.0.0.1:{server.server_address[1]}"
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for _ in range(turns):
            for name, found in times.items():
                found.append(seen_after(browser, f"{address}/{name}"))
        browser.close()
    server.shutdown()
    for name, parts in (("ours", own), ("theirs", [bundle])):
        size, packed = sum(map(len, parts)), sum(len(gzip.compress(part)) for part in parts)
        first, picture = np.median(times[name], axis=0)
        print(
            f"{name}: {size:,} bytes of script, {packed:,} packed; first paint {first:.0f} ms, picture {picture:.0f} ms"
        )


if __name__ == "__main__":
    main()
