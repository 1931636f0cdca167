"""How the service is set up; handed to worker processes through the environment."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

ENVIRONMENT = "MSDE_SERVE_SETTINGS"


@dataclass(frozen=True)
class Settings:
    """What `msde serve` was told.

    Parameters
    ----------
    data : str
        Folder of the database, images, model versions, tokens and embeddings.
    models : tuple of str
        Model files; each is served under the stem of its name and read again when it changes.
    normals : tuple of str
        Folders, files or globs of normals to compare with; as ``NAME=PATH`` those of one model, which the others are
        not compared with.
    abnormal : tuple of str
        Likewise of the labelled abnormal images that models learnt from.
    database : str
        URL for SQLAlchemy; empty for SQLite in the data folder.
    host, port
        Where to listen.
    workers : int
        Processes.
    queue : int
        Images that may wait; beyond them uploads are answered with 429.
    upload_bytes, unpacked_bytes, files : int
        What one upload may hold, before and after unpacking.
    reserve : int
        Bytes of the disk that uploads leave free, or a twentieth of it if that is less.
    connections, connections_of_one : int
        Connections that a process has at once, of all addresses and of one that is no proxy's.
    hosts : tuple of str
        Names by which the service may be called, in addition to those of this machine's loopback; ``*`` for any.
    proxy_header : str
        Name of the header with which a trusted proxy names the user; empty: none is trusted.
    proxies : tuple of str
        Addresses of trusted proxies, which may have as many connections as there are.
    admins : tuple of str
        Users named by the proxy who are admins.
    groups_header : str
        Name of the header with which the proxy lists the user's groups, with commas; empty: none is trusted.
    admin_groups, reader_groups : tuple of str
        Groups whose members are admins, and those who may come in at all; of no reader groups everybody may.
    sign_out_url : str
        Where whom the proxy names goes to sign out; empty: nowhere.
    root_path : str
        Prefix of the path below which readers reach the service, such as ``/msde``; empty for none.
    https : bool
        Whether readers come by HTTPS (a proxy's), so that cookies must never go by HTTP.
    device : {"cpu", "openvino", "cuda"}
        Where the networks run.
    pacs : str
        File of PACS settings; empty: none.
    notify : str
        File of notifications; empty: nobody is told.
    keep : int
        Seconds after which the picture of an image goes, and its scores and verdicts stay; 0 for never.
    identifiers : bool
        Whether readers are shown whom DICOM images are of, which is kept encrypted.
    identifiers_key : str
        File of the key; empty for DATA/identifiers-key.
    viewer_url : str
        Where the archive's viewer shows a study, with ``{study}`` for its UID; empty: nowhere.
    """

    data: str
    models: tuple[str, ...]
    normals: tuple[str, ...] = ()
    abnormal: tuple[str, ...] = ()
    database: str = ""
    host: str = "127.0.0.1"
    port: int = 8765
    workers: int = 1
    queue: int = 1000
    upload_bytes: int = 500_000_000
    unpacked_bytes: int = 2_000_000_000
    files: int = 5_000
    reserve: int = 1_000_000_000
    connections: int = 500
    connections_of_one: int = 100
    hosts: tuple[str, ...] = ()
    proxy_header: str = ""
    proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    admins: tuple[str, ...] = ()
    groups_header: str = ""
    admin_groups: tuple[str, ...] = ()
    reader_groups: tuple[str, ...] = ()
    sign_out_url: str = ""
    root_path: str = ""
    https: bool = False
    device: str = "cpu"
    pacs: str = ""
    notify: str = ""
    keep: int = 0
    identifiers: bool = False
    identifiers_key: str = ""
    viewer_url: str = ""

    @property
    def folder(self) -> Path:
        """The data folder."""
        return Path(self.data)

    @property
    def url(self) -> str:
        """URL of the database."""
        return self.database or f"sqlite:///{self.folder.absolute() / 'msde.db'}"

    def normals_of(self, model: str) -> tuple[str, ...]:
        """Return the normals of a model: its own, or those of all."""
        return self._of_model(self.normals, model)

    def abnormal_of(self, model: str) -> tuple[str, ...]:
        """Return the labelled abnormal images of a model, likewise."""
        return self._of_model(self.abnormal, model)

    def _of_model(self, given: tuple[str, ...], model: str) -> tuple[str, ...]:
        names = {f"{Path(file).stem}=" for file in self.models}
        own = tuple(path.removeprefix(f"{model}=") for path in given if path.startswith(f"{model}="))
        return own or tuple(path for path in given if not path.startswith(tuple(names)))

    def to_environment(self) -> None:
        """Write the settings where worker processes find them."""
        os.environ[ENVIRONMENT] = json.dumps(asdict(self))

    @classmethod
    def from_environment(cls) -> Settings:
        """Read them there."""
        given = json.loads(os.environ[ENVIRONMENT])
        values: dict[str, Any] = {field.name: given[field.name] for field in fields(cls)}
        listed = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**(values | listed))
