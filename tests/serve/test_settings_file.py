"""A TOML file of settings."""

from pathlib import Path

import pytest

from msde.errors import DataError
from msde.serve.settings_file import StrictSettings, is_loopback, keeps_secrets, read_settings, secret_in


class Row(StrictSettings):
    name: str
    key: Path | None = None


class File(StrictSettings):
    rows: tuple[Row, ...] = ()
    one: Row | None = None


def test_paths_are_found_beside_the_file(tmp_path):
    for name in ("a.key", "b.key"):
        (tmp_path / name).write_text(" secret \nmore\n")
    file = tmp_path / "settings.toml"
    file.write_text('[[rows]]\nname = "a"\nkey = "a.key"\n[[rows]]\nname = "b"\n[one]\nname = "c"\nkey = "b.key"\n')
    settings = read_settings(file, File, "docs/x.md")
    assert [row.key for row in settings.rows] == [tmp_path / "a.key", None]
    assert settings.one.key == tmp_path / "b.key"
    assert secret_in(settings.one.key) == "secret"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[rows]\n", "cannot be read: "),
        ('[[rows]]\nname = "a"\nkey = "none.key"\n', "none.key: No such file or directory"),
        ('[[rows]]\nname = "a"\nnames = "b"\n', "rows.0.names: Extra inputs are not permitted"),
        ("rows = 3\n", "rows: "),
    ],
)
def test_what_is_wrong_is_named_with_the_page_that_helps(tmp_path, text, said):
    file = tmp_path / "settings.toml"
    file.write_text(text)
    with pytest.raises(DataError) as error:
        read_settings(file, File, "docs/x.md")
    assert str(error.value).startswith(f"{file}: ")
    assert said in str(error.value)
    assert str(error.value).endswith("; see docs/x.md")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_settings(tmp_path / "none.toml", File, "docs/x.md")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_this_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "pacs.example", "10.0.0.1", "localhost.example", "::2"])
def test_other_machines(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("url", "kept"),
    [("https://ris.example/x", True), ("http://ris.example/x", False), ("http://[::1]:80/x", True), ("http://", False)],
)
def test_what_is_secret_goes_nowhere_unencrypted(url, kept):
    assert keeps_secrets(url) is kept
