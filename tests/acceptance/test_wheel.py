"""The wheel alone, in a bare environment without an index: everything it needs is inside."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.pictures import write_discs
from tests.requirements import WHEELS, need
from tests.serve.process import Process

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def run(*command, cwd):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(source, target):
    run(sys.executable, "-m", "hatchling", "build", "-d", target, cwd=source)
    (wheel,), (sdist,) = target.glob("*.whl"), target.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    need("wheels")
    return build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def bare(built, tmp_path_factory):
    """An environment with the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("bare")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    quick = ("--quiet", "--no-compile", "--disable-pip-version-check")
    run(
        *(python, "-m", "pip", "install", *quick, "--no-index", "--find-links", WHEELS),
        f"msde[demo,serve] @ {built[0].as_uri()}",
        cwd=folder,
    )
    return python


def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


def test_the_wheel_made_of_the_sdist_is_the_same(built, tmp_path):
    wheel, sdist = built
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert names(build(source, tmp_path / "dist")[0]) == names(wheel)


def test_the_command_and_the_module_are_one(bare, tmp_path):
    version = run(bare.with_name("msde"), "--version", cwd=tmp_path)
    assert version.startswith("msde, version ")
    assert run(bare, "-m", "msde", "--version", cwd=tmp_path) == version
    assert run(bare, "-c", "import msde; print(msde.__version__)", cwd=tmp_path).strip() in version


def test_it_fits_scores_reports_and_serves(bare, tmp_path):
    msde = bare.with_name("msde")
    normals = write_discs(tmp_path / "normals", 24)
    new = write_discs(tmp_path / "new", 4, seed=1, lesion=True)
    model = tmp_path / "model.msde"
    run(msde, "fit", normals, "-o", model, cwd=tmp_path)
    assert len(run(msde, "score", model, new, cwd=tmp_path).splitlines()) == 5
    run(msde, "report", model, new, "--normals", normals, "-o", "report.html", cwd=tmp_path)
    assert "</html>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "efficientnet_lite0" in run(msde, "backbones", cwd=tmp_path)
    with Process(model, tmp_path / "data", command=msde) as service:
        assert "<html" in service.ask("GET", "/").text
        content = (new / "000.png").read_bytes()
        assert service.ask("POST", "/api/images", params={"name": "000.png"}, content=content).is_success
        (row,) = service.rows()
        assert row["flagged"]


def test_the_demo_runs(bare, tmp_path):
    run(bare, "-m", "msde", "demo", cwd=tmp_path)
    assert (tmp_path / "msde-demo" / "scores.csv").exists()
