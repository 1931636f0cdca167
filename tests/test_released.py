"""The version is stated once, and what each released one wrote is kept, to be read by all later ones."""

import re
from pathlib import Path

from msde import __version__
from msde.benchmark.provenance import versions
from tests.command import msde

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
MODELS = {"0.1": "format3", "0.2": "format5"}  # format 4 was written between the two


def changes() -> list[tuple[str, str]]:
    """List versions and dates as the changelog has them, the newest first."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", text, re.MULTILINE)


def test_the_version_is_the_same_everywhere():
    newest, day = changes()[0]
    assert __version__ == newest
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {newest}\n" in cited
    assert f"\ndate-released: {day}\n" in cited
    assert msde("--version").stdout == f"msde, version {newest}\n"
    assert versions()["msde"] == newest  # beside a figure of the benchmark


def test_every_earlier_version_left_something_to_read():
    for version, _ in changes()[1:]:
        short = version.rpartition(".")[0]
        assert list((DATA / MODELS[short]).glob("*.msde")), f"keep what {version} writes: docs/promises.md"
        assert (DATA / f"service-{short}" / "msde.db").exists()
