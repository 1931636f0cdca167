"""What a figure came from: versions of the libraries and the revision of this source."""

from __future__ import annotations

import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from msde import __version__

_LIBRARIES = ("numpy", "scipy", "scikit-learn", "onnxruntime", "pyod", "torch", "anomalib")


def versions() -> dict[str, str]:
    """Return the versions of Python and of those libraries that are installed."""
    found = {"python": platform.python_version(), "msde": __version__}
    for library in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[library] = version(library)
    return found


def revision() -> str | None:
    """Return the git revision of this source, with ``+`` where files were changed since; None outside a checkout."""
    folder = Path(__file__).parents[1]
    try:
        commit, changed = (
            subprocess.run(  # noqa: S603
                ["git", "-C", str(folder), *command],  # noqa: S607
                capture_output=True,
                text=True,
                check=True,
                timeout=30,
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no", "--", "."])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")
