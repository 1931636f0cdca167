"""Faults in the processes of a test's cluster: PNG files that kill who opens them, and workers that are slow."""

import os
import signal
import time

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
