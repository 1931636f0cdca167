"""Faults in the processes of a test's cluster: PNG files that kill who opens them, and workers that are slow."""

import os
import signal
import sys
import time
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

FOLDER = os.environ.get("MSDE_TEST_FAULTS")
if FOLDER:
    from PIL.PngImagePlugin import PngImageFile

    opened = PngImageFile._open

    def _open(self):
        opened(self)
        if self.info.get("fault") == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if os.path.exists(f"{FOLDER}/slow.{os.getpid()}"):
            time.sleep(0.3)

    PngImageFile._open = _open  # type: ignore[method-assign]

# One of this name that this one hides marks which lines run.
hidden = PathFinder.find_spec("sitecustomize", [path for path in sys.path if path != os.path.dirname(__file__)])
if hidden and hidden.loader:
    hidden.loader.exec_module(module_from_spec(hidden))
