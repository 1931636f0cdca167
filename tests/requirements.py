"""What some tests need beyond the test extra, and how each is brought."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

ALL = "MSDE_TEST_ALL"  # set by `make test-all`: what is missing is a failure
THOROUGH = bool(os.environ.get(ALL))  # and of what is tried at random, more is
SHARED = "MSDE_SHARED"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
WHEELS = Path(__file__).parents[1] / ".venv" / "wheels"
DICOMWEB = [Path(folder) / "libOrthancDicomWeb.so" for folder in ("/usr/share/orthanc/plugins", "/usr/lib/orthanc")]
FAKETIME = next((file for file in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


@dataclass(frozen=True)
class Requirement:
    """Something that a machine has or has not.

    Parameters
    ----------
    name : str
        What a reader knows it as.
    present : callable
        Whether it is there.
    remedy : str
        The command that brings it.
    may_be_had : bool, optional
        Whether it can be brought to any machine; what cannot, or is not asked for, is no failure where it is missing.
    """

    name: str
    present: Callable[[], bool]
    remedy: str
    may_be_had: bool = True


def _packages(*modules: str) -> Callable[[], bool]:
    return lambda: all(find_spec(module) is not None for module in modules)


def _program(*names: str) -> Callable[[], bool]:
    return lambda: any(shutil.which(name, path=PATH) for name in names)


def _may_mount() -> bool:
    """Whether a process may mount, tried in a namespace that ends with it."""
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return os.getuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0


def _shared() -> bool:
    return bool(os.environ.get(SHARED)) and (Path(os.environ[SHARED]) / "data").is_dir()


REQUIREMENTS = {
    "torch": Requirement("PyTorch", _packages("torch", "timm", "onnxscript"), "make test-all"),
    "transformers": Requirement("transformers", _packages("torch", "transformers"), "make test-all"),
    "open_clip": Requirement("OpenCLIP", _packages("torch", "open_clip"), "make test-all"),
    "xrv": Requirement("TorchXRayVision", _packages("torch", "torchxrayvision"), "make test-all"),
    "openvino": Requirement("OpenVINO", _packages("openvino", "onnx"), "make test-all"),
    "umap": Requirement("umap-learn", _packages("umap"), "make test-all"),
    "ray": Requirement("Ray", _packages("ray", "s3fs", "moto"), "make test-all"),
    "polars": Requirement("Polars", _packages("polars"), "make test-all"),
    "docs": Requirement("Sphinx", _packages("sphinx", "furo", "myst_parser", "numpydoc", "nbclient"), "make test-all"),
    "chromium": Requirement(
        "Chromium",
        lambda: _packages("playwright")() and _program(*CHROMIUM)(),
        "apt-get install chromium fonts-dejavu-core; make test-all",
    ),
    "axe": Requirement("axe-core", _packages("axe_playwright_python"), "make test-all"),
    "dicom3tools": Requirement("dciodvfy", _program("dciodvfy"), "apt-get install dicom3tools"),
    "orthanc": Requirement(
        "Orthanc",
        lambda: _program("Orthanc")() and any(map(Path.exists, DICOMWEB)),
        "apt-get install orthanc orthanc-dicomweb",
    ),
    "postgresql": Requirement(
        "PostgreSQL",
        lambda: any(Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        "apt-get install postgresql",
    ),
    "latex": Requirement(
        "pdfLaTeX", _program("pdflatex"), "apt-get install --no-install-recommends texlive-latex-recommended"
    ),
    "nginx": Requirement("nginx", _program("nginx"), "apt-get install nginx-light"),
    "caddy": Requirement("Caddy", _program("caddy"), "apt-get install caddy", False),
    "faketime": Requirement("libfaketime", lambda: FAKETIME is not None, "apt-get install libfaketime"),
    "mount": Requirement(
        "the right to mount a disk of its own", _may_mount, "run as root, a container with --privileged", False
    ),
    "systemd": Requirement("systemd-analyze", _program("systemd-analyze"), "apt-get install systemd"),
    "wheels": Requirement("the folder of wheels", WHEELS.is_dir, "make test-all"),
    "shared": Requirement("the real image sets", _shared, f"set {SHARED} to their folder; docs/sets.md names them"),
}


def need(*kinds: str) -> None:
    """Skip the test, or the file at its import, where one of the kinds is missing; fail under `make test-all`."""
    for kind in kinds:
        requirement = REQUIREMENTS[kind]
        if not requirement.present():
            missing = f"{requirement.name} is missing: {requirement.remedy}"
            if THOROUGH and requirement.may_be_had:
                pytest.fail(missing, pytrace=False)
            pytest.skip(missing, allow_module_level=True)
