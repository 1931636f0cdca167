"""Chromium without a window, spoken to by its debugging pipe."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from select import select
from typing import Any, Self

from tests.patience import PATIENCE
from tests.requirements import CHROMIUM, need


def chromium() -> str:
    """Find the browser; a test that asks needs it."""
    need("chromium")
    return next(filter(None, map(shutil.which, CHROMIUM)))


class Browser:
    """One page in a browser of its own, offline and with a profile that is thrown away."""

    def __init__(self, profile: Path, width: int = 1440, height: int = 900) -> None:
        read_commands, self._commands = os.pipe()
        self._answers, write_answers = os.pipe()
        # The browser reads commands at 3 and answers at 4, each message ended by a zero byte.
        script = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run")
        window = f"--window-size={width},{height}"
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", str(read_commands), str(write_answers), chromium()]
            + [*options, window, f"--user-data-dir={profile}", "--proxy-server=127.0.0.1:9", "about:blank"],
            pass_fds=(read_commands, write_answers),
            stderr=subprocess.DEVNULL,
        )
        os.close(read_commands)
        os.close(write_answers)
        self._buffer, self._number, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        page = next(t for t in self.send("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.send("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; keep the events that come before it."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        sent = json.dumps(message).encode() + b"\0"
        while sent:
            sent = sent[os.write(self._commands, sent) :]
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select([self._answers], [], [], PATIENCE)[0], "the browser does not answer"
            received = os.read(self._answers, 1 << 20)
            assert received, "the browser has gone"
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def open(self, path: Path) -> None:
        """Open a local file anew and wait until it is loaded."""
        for url in ("about:blank", path.as_uri()):  # the same page again would keep its place
            before = len(self.events)
            self.send("Page.navigate", url=url)
            while not any(event["method"] == "Page.loadEventFired" for event in self.events[before:]):
                self.events.append(self._next())

    def run(self, script: str) -> Any:
        """Evaluate an expression in the page."""
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key."""
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self, path: Path) -> None:
        """Write what is seen as a PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def pdf(self, path: Path) -> None:
        """Print the page."""
        printed = self.send("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
        path.write_bytes(base64.b64decode(printed["data"]))

    def complaints(self) -> list[str]:
        """Give errors and warnings of the page, and what it asked the network for."""
        kinds = {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"}
        said = [json.dumps(event["params"]) for event in self.events if event["method"] in kinds]
        urls = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return said + [url for url in urls if not url.startswith(("file:", "data:"))]
