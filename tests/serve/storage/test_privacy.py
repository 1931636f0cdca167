"""Rights at what is kept."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from msde.serve.storage.privacy import make_private


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*")}


def test_rights_of_others_go_and_links_lead_nowhere(tmp_path):
    outside, data = tmp_path / "outside", tmp_path / "data"
    outside.write_text("somebody's")
    outside.chmod(0o644)
    (data / "images" / "ab").mkdir(parents=True)
    for name, mode in (("images/ab/a.png", 0o666), ("tokens", 0o640), ("run", 0o755)):
        (data / name).write_text("")
        (data / name).chmod(mode)
    (data / "images").chmod(0o777)
    data.chmod(0o755)
    (data / "link").symlink_to(outside)
    make_private(data)
    found = modes(data)
    found.pop("link")
    assert found == {"images": 0o700, "images/ab": 0o700, "images/ab/a.png": 0o600, "tokens": 0o600, "run": 0o700}
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644


def test_what_is_another_users_is_told_and_stops_nothing(tmp_path, monkeypatch, caplog):
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "lost+found").chmod(0o755)  # whatever umask a service of an earlier test has left
    for name in ("theirs", "ours"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o644)
    chmod, scandir = os.chmod, os.scandir

    def changing(path: str, mode: int) -> None:
        if not path.endswith("ours"):
            raise PermissionError
        chmod(path, mode)

    def listing(folder: str) -> object:
        if os.fspath(folder).endswith("lost+found"):
            raise PermissionError
        return scandir(folder)

    tmp_path.chmod(0o700)
    with monkeypatch.context() as patched:
        patched.setattr(os, "chmod", changing)
        patched.setattr(os, "scandir", listing)
        make_private(tmp_path)
    assert modes(tmp_path) == {"lost+found": 0o755, "theirs": 0o644, "ours": 0o600}
    assert [vars(record)["fields"] for record in caplog.records] == [{"files": 2}]
