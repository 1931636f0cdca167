"""The PACS link on loopback: instances in, result sets found in a real Orthanc, with kills of either side on the way.

Run: python -m benchmarks.pacs MODEL.msde FOLDER_OF_IMAGES [--instances 200] [--way poll|stow|dimse] [--kills 0]
Each image becomes a radiograph of a study of its own. A set is a report, and an overlay and a heat map where the model
has heat maps. With --kills, Orthanc and the service are killed by turns and started again.
"""

from __future__ import annotations

import io
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from itertools import cycle, islice
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid
from tests.serve.pacs.orthanc import Orthanc, free_port

MSDE = str(Path(sys.executable).with_name("msde"))
NETWORK = build_opener(ProxyHandler({}))


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--instances", type=int, default=200)
    parser.add_argument("--way", choices=["poll", "stow", "dimse"], default="poll")
    parser.add_argument("--kills", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, Orthanc(Path(scratch) / "orthanc") as orthanc:
        folder = Path(scratch)
        files = radiographs(given.images, given.instances)
        service = Service(given.model, folder, orthanc, given.way)
        if given.way == "poll":
            for file in files:
                orthanc.upload(file)
        service.start()
        start = time.monotonic()
        try:
            if given.way != "poll":
                {"stow": service.stow, "dimse": service.dimse}[given.way](files)
            wait(service, orthanc, given.instances, given.kills)
            seconds = time.monotonic() - start
            reported = tell(service, orthanc, given.instances)
        finally:
            service.kill()
    print(f"{given.instances} instances by {given.way}, {given.kills} kills: {reported} in {seconds:.0f} s")


def radiographs(folder: Path, n: int) -> list[bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not paths:
        raise SystemExit(f"{folder} holds no PNG or JPEG")
    rng = np.random.default_rng(0)
    return [_radiograph(path, rng) for path in islice(cycle(paths), n)]


def _radiograph(path: Path, rng: np.random.Generator) -> bytes:
    pixels = np.array(Image.open(path).convert("L"))
    pixels[0, :8] = rng.integers(0, 255, 8)  # no two alike
    return radiograph(pixels)


def radiograph(pixels: NDArray[np.uint8]) -> bytes:
    """Write a radiograph of these pixels, of shape (rows, columns), of a study of its own."""
    image = Dataset()
    image.PatientID = image.PatientName = image.PatientBirthDate = image.PatientSex = image.AccessionNumber = ""
    image.StudyID = image.StudyTime = image.ReferringPhysicianName = ""
    image.StudyDate, image.Modality = time.strftime("%Y%m%d"), "CR"
    image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID = (generate_uid() for _ in range(3))
    image.SOPClassUID = ComputedRadiographyImageStorage
    image.Rows, image.Columns, image.SamplesPerPixel = *pixels.shape, 1
    image.PhotometricInterpretation, image.PixelRepresentation = "MONOCHROME2", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 8, 8, 7
    image.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = io.BytesIO()
    image.save_as(file, enforce_file_format=True)
    return file.getvalue()


class Service:
    """`msde serve` beside the archive; killed and started again at will."""

    def __init__(self, model: Path, folder: Path, orthanc: Orthanc, way: str) -> None:
        self.data, self._model, self._log = folder / "data", model, folder / "serve.log"
        self._port, self._dicom_port = free_port(), free_port()
        self._pacs = folder / "pacs.toml"
        poll = "poll_seconds = 2" if way == "poll" else ""
        self._pacs.write_text(
            f'[[pacs]]\nname = "orthanc"\nurl = "{orthanc.url}"\n{poll}\n[stow]\n[listen]\nport = {self._dicom_port}\n'
        )

    def start(self) -> None:
        command = [MSDE, "serve", self._model, "--data", self.data, "--port", str(self._port), "--pacs", self._pacs]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, start_new_session=True)
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=1):
                    NETWORK.open(f"http://127.0.0.1:{self._port}/readyz", timeout=5)
                    return
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit(f"the service did not start:\n{self._log.read_text()}") from None
                time.sleep(0.1)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stow(self, files: list[bytes]) -> None:
        import requests
        from dicomweb_client.web import DICOMwebClient

        session = requests.Session()
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {(self.data / 'admin-token').read_text().strip()}"
        client = DICOMwebClient(f"http://127.0.0.1:{self._port}/dicomweb", session)
        for file in files:
            client.store_instances([dcmread(io.BytesIO(file))])

    def dimse(self, files: list[bytes]) -> None:
        from pynetdicom import AE

        ae = AE("BENCHMARK")
        ae.add_requested_context(ComputedRadiographyImageStorage, ExplicitVRLittleEndian)
        association = ae.associate("127.0.0.1", self._dicom_port, ae_title="MSDE")
        for file in files:
            answer = association.send_c_store(dcmread(io.BytesIO(file)))
            if answer.get("Status") != 0:
                raise SystemExit(f"C-STORE answered {answer}")
        association.release()

    def states(self) -> Counter[str]:
        with sqlite3.connect(f"file:{self.data / 'msde.db'}?mode=ro", uri=True, timeout=30) as database:
            return Counter(dict(database.execute("SELECT state, count(*) FROM outbox GROUP BY state").fetchall()))


def wait(service: Service, orthanc: Orthanc, n: int, kills: int) -> None:
    """Wait for the results, and kill one side after the other as they come in."""
    killed = 0
    while (sent := service.states()["sent"]) < n:
        if service.states()["dead"]:
            raise SystemExit(f"results were given up: {service.states()}")
        if killed < kills and sent >= n * (killed + 1) / (kills + 1):
            side = (orthanc, service)[killed % 2]
            side.kill()
            time.sleep(3)
            side.start()
            killed += 1
        time.sleep(0.2)


def tell(service: Service, orthanc: Orthanc, n: int) -> str:
    """Compare what the archive holds with what the service was given."""
    found = orthanc.instances()
    kinds = Counter(one["modality"] for one in found if one["maker"] == "MSDE")
    with sqlite3.connect(f"file:{service.data / 'msde.db'}?mode=ro", uri=True) as database:
        ((images,),) = database.execute("SELECT count(*) FROM images").fetchall()
    doubled = len(found) - len({one["uid"] for one in found}) + images - n
    return (
        f"{images} images, {kinds['SR']} reports and {kinds['OT']} overlays and heat maps found in Orthanc,"
        f" {n - kinds['SR']} lost, {doubled} doubled"
    )


if __name__ == "__main__":
    main()
