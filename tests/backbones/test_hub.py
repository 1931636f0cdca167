"""Downloads that fail, against a hub of our own."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.requirements import need

pytestmark = [pytest.mark.torch, pytest.mark.slow]

LOAD = """
import sys
from msde.backbones import load_backbone
from msde.errors import BackboneError
for name in sys.argv[1:]:
    try:
        load_backbone(name)
    except BackboneError as error:
        print(error)
"""
NAMES = ["hf:microsoft/rad-dino", "hf-hub:MahmoodLab/uni", "timm:resnet18.tv_in1k", "open_clip:microsoft/BiomedCLIP"]


class Gate(http.server.BaseHTTPRequestHandler):
    """Answers as the hub does for a repository whose terms were not accepted."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("X-Error-Code", "GatedRepo")
        self.send_header("X-Error-Message", "Access to this model is restricted.")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def gate() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gate) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def lines(names: list[str], home: Path, **environment: str) -> list[str]:
    need("torch", "transformers", "open_clip")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    kept |= {"HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    done = subprocess.run([sys.executable, "-c", LOAD, *names], capture_output=True, text=True, check=True, env=kept)
    return done.stdout.splitlines()


def test_gated_model_without_a_token(gate: str, tmp_path: Path) -> None:
    found = lines(NAMES, tmp_path, HF_ENDPOINT=gate)
    assert len(found) == len(NAMES)
    for name, line in zip(NAMES, found, strict=True):
        assert line.startswith(f"backbone {name}: ")
        assert "accept its terms on the Hugging Face hub and set HF_TOKEN" in line
        assert "pass it as the checkpoint" in line


def test_no_network(tmp_path: Path) -> None:
    files = ["model.safetensors", "model.safetensors", "model.safetensors", "open_clip_model.safetensors"]
    found = lines(NAMES, tmp_path, HF_HUB_OFFLINE="1")
    assert len(found) == len(NAMES)
    for name, file, line in zip(NAMES, files, found, strict=True):
        assert line.startswith(f"backbone {name}: its weights could not be downloaded")
        assert file in line
        assert "from the Hugging Face hub into a folder and pass it as the checkpoint" in line
