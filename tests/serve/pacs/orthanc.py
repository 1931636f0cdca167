"""A real Orthanc with DICOMweb on a free loopback port, in a folder of its own."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any, Self

import requests
from tests.patience import PATIENCE, wait_until
from tests.requirements import DICOMWEB, PATH, need

COMMAND = shutil.which("Orthanc", path=PATH) or ""
USER, PASSWORD = "msde", "a password"


class Orthanc:
    """A server that can be killed and started again on the same storage."""

    def __init__(self, folder: Path, *, password: bool = False) -> None:
        need("orthanc")
        plugin = next(path for path in DICOMWEB if path.exists())
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.dicom_port = free_port(), free_port()
        self.url, self._root = f"http://127.0.0.1:{self.port}/dicom-web", f"http://127.0.0.1:{self.port}"
        self._auth = (USER, PASSWORD) if password else None
        self._settings: dict[str, Any] = {
            "Name": "test",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "Plugins": [str(plugin)],
            "HttpPort": self.port,
            "DicomServerEnabled": False,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": password,
            "RegisteredUsers": {USER: PASSWORD} if password else {},
            "OverwriteInstances": False,
            "DicomModalitiesInDatabase": True,
        }
        self._file, self._log = folder / "orthanc.json", folder / "orthanc.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.auth = self._auth

    def start(self) -> Self:
        self._file.write_text(json.dumps(self._settings))
        self._session.close()  # connections to one that was killed
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([COMMAND, str(self._file)], stdout=log, stderr=log)
        wait_until(self._ready, "an Orthanc that is ready")
        return self

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            return self._session.get(f"{self.url}/studies?limit=1", timeout=5).ok
        except requests.RequestException:
            return False

    def kill(self) -> None:
        """End it in the midst of what it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._session.close()

    def get(self, path: str) -> Any:
        answer = self._session.get(self._root + path, timeout=PATIENCE)
        answer.raise_for_status()
        return answer.json()

    def upload(self, content: bytes) -> None:
        self._session.post(f"{self._root}/instances", data=content, timeout=PATIENCE).raise_for_status()

    def send(self, title: str, port: int) -> dict[str, Any]:
        """Have it send all that it has by C-STORE."""
        at: dict[str, str | int] = {"AET": title, "Host": "127.0.0.1", "Port": port}
        self._session.put(f"{self._root}/modalities/{title}", json=at, timeout=PATIENCE).raise_for_status()
        job = {"Resources": self.get("/instances"), "Synchronous": True, "Permissive": True}
        answer = self._session.post(f"{self._root}/modalities/{title}/store", json=job, timeout=PATIENCE)
        answer.raise_for_status()
        return answer.json()

    def instances(self) -> list[dict[str, Any]]:
        """Tell class, manufacturer and UID of all that it has."""
        asked = "/instances?expand&requestedTags=SOPClassUID"
        found = []
        for one in self.get(asked):
            series = self.get(f"/series/{one['ParentSeries']}")["MainDicomTags"]
            found.append(
                {
                    "uid": one["MainDicomTags"]["SOPInstanceUID"],
                    "modality": series["Modality"],
                    "maker": series.get("Manufacturer", ""),
                    "series": series["SeriesInstanceUID"],
                }
            )
        return found


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])
