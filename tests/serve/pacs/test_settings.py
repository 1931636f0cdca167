from __future__ import annotations

from pathlib import Path

import pytest

from msde.errors import DataError
from msde.serve.pacs.settings import PacsFile

PACS = '[[pacs]]\nurl = "https://pacs.example/dicom-web/"\n'


def test_a_file_is_read_with_its_secrets_beside_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\nanything else")
    file = tmp_path / "pacs.toml"
    file.write_text(
        f'{PACS}name = "a"\ntoken_file = "token"\n{PACS}name = "b"\nresults = false\n[listen]\nport = 4242\n[stow]'
    )
    found = PacsFile.read(file)
    assert found.pacs[0].url == "https://pacs.example/dicom-web"
    assert found.pacs[0].bearer == {"Authorization": "Bearer abc"}
    assert found.pacs[0].client_certificate is None
    assert found.listen is not None
    assert (found.listen.host, found.listen.port) == ("127.0.0.1", 4242)
    assert found.destinations == ["a"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[[pacs]\n", "cannot be read"),
        ("[[pacs]]\n", r"pacs\.0\.url: Field required"),
        (f"{PACS}colour = 1", r"pacs\.0\.colour: Extra inputs"),
        (f"{PACS}{PACS}", "two archives have one name"),
        (f'{PACS}user = "me"', "go together"),
        (f'{PACS}token_file = "missing"', "No such file"),
        ('[[pacs]]\nurl = "ftp://pacs/x"', "must be like https"),
        ('[[pacs]]\nurl = "https://me:secret@pacs/x"', "must hold no password"),
        ('[[pacs]]\nurl = "http://pacs.example/x"\ntoken_file = "token"', "https only"),
        ('[listen]\nae_title = "LONGER THAN SIXTEEN"', "ae_title"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "pacs.toml"
    file.write_text(content)
    with pytest.raises(DataError, match=said) as error:
        PacsFile.read(file)
    assert str(error.value).startswith(str(file))
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        PacsFile.read(tmp_path / "none.toml")
