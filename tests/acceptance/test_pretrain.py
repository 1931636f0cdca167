"""`msde pretrain` as a user runs it: images in, encoder out, killed and resumed, with bad input."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tests.command import MSDE, msde
from tests.pictures import write_discs
from tests.requirements import need

TINY = ("--backbone", "timm:test_resnet", "--random", "--input-size", "32", "--batch", "4")

need("torch")
pytestmark = [pytest.mark.torch, pytest.mark.slow]


def command(folder, output, *options):
    return [MSDE, "pretrain", folder, "-o", output, *map(str, options)]


def run(*arguments):
    return msde(*command(*arguments)[1:])


def contents(path):
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def fails(done, *parts):
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_discs(tmp_path_factory.mktemp("pretrain") / "normals", 24)


def test_a_killed_run_goes_on_and_ends_with_the_same_encoder(folder, tmp_path):
    settings = (*TINY, "--steps", 120, "--task", "cutpaste-3way")
    whole = run(folder, tmp_path / "whole.safetensors", *settings)
    assert whole.returncode == 0, whole.stderr
    assert "Step 120 of 120, loss " in whole.stderr
    assert " left, AUROC of held-out normals 0." in whole.stderr

    killed, state = tmp_path / "killed.safetensors", tmp_path / "killed.safetensors.checkpoint"
    process = subprocess.Popen(command(folder, killed, *settings), stderr=subprocess.DEVNULL)
    while not state.exists() and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not killed.exists()

    resumed = run(folder, killed, *settings)
    assert resumed.returncode == 0, resumed.stderr
    assert "Going on from step " in resumed.stderr
    assert sorted(path.name for path in tmp_path.glob("*.safetensors*")) == [killed.name, "whole.safetensors"]
    (one, facts), (other, same_facts) = contents(tmp_path / "whole.safetensors"), contents(killed)
    assert facts == same_facts
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_the_encoder_is_a_backbone(folder, tmp_path):
    done = run(folder, tmp_path / "e.safetensors", *TINY, "--steps", 3)
    assert done.returncode == 0, done.stderr
    assert json.loads(contents(tmp_path / "e.safetensors")[1]["msde_architecture"])["timm"] == "test_resnet"
    fitted = msde("fit", folder, "-o", tmp_path / "m.msde", "--backbone", f"file:{tmp_path / 'e.safetensors'}")
    assert fitted.returncode == 0, fitted.stderr
    assert "fitted on" in fitted.stdout


def test_the_default_start_gives_a_backbone_that_needs_no_torch(folder, tmp_path):
    encoder = tmp_path / "e.safetensors"
    done = run(folder, encoder, "--steps", 2, "--batch", 2, "--input-size", 64)
    assert done.returncode == 0, done.stderr
    script = (
        "import sys; from msde.backbones import load_backbone; from msde.backbones.session import EmbeddingSession;"
        f"import numpy as np; b = load_backbone('file:{encoder}');"
        "rows = EmbeddingSession(b).embed(np.zeros((1, 3, 224, 224), np.float32));"
        "assert rows.shape == (1, 496) and np.isfinite(rows).all(); assert 'torch' not in sys.modules"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr


def test_a_checkpoint_of_other_settings_is_not_mixed_in(folder, tmp_path):
    output, state = tmp_path / "e.safetensors", tmp_path / "e.safetensors.checkpoint"
    process = subprocess.Popen(command(folder, output, *TINY, "--steps", 120), stderr=subprocess.DEVNULL)
    while not state.exists() and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    process.wait()
    fails(run(folder, output, *TINY, "--steps", 121), str(state), "delete it")
    state.write_bytes(state.read_bytes()[:1000])
    fails(run(folder, output, *TINY, "--steps", 120), str(state), "delete it")


def test_bad_input_is_told_in_a_line(folder, tmp_path):
    output = tmp_path / "e.safetensors"
    fails(run(folder / "000.png", output, *TINY), "1 normal images", "give 10 or more")
    fails(run(tmp_path / "missing", output, *TINY), "missing")
    fails(run(folder, tmp_path / "no" / "e.safetensors", *TINY), "cannot be written")
    fails(run(folder, output, "--backbone", "nonsense"), "backbone nonsense cannot be trained")
    fails(run(folder, output, "--backbone", "timm:test_resnet", "--checkpoint", tmp_path / "w.pth"), "w.pth")
    assert not output.exists()


def test_an_unreadable_image_is_left_out_and_told(tmp_path):
    normals = write_discs(tmp_path / "normals", 12)
    (normals / "bad.png").write_bytes(b"no image")
    done = run(normals, tmp_path / "e.safetensors", *TINY, "--steps", 2)
    assert done.returncode == 3
    assert "bad.png" in done.stderr
    assert (tmp_path / "e.safetensors").exists()


def test_a_full_disk_is_told(folder, tmp_path):
    resource = pytest.importorskip("resource")

    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    settings = command(folder, tmp_path / "e.safetensors", *TINY, "--steps", 2)
    done = subprocess.run(settings, capture_output=True, text=True, preexec_fn=little_room)
    fails(done, "e.safetensors", "cannot be written", "make room")
    assert list(tmp_path.iterdir()) == []
