"""`msde report`, run as a user runs it."""

import os
import re
import subprocess

import pytest
from tests.command import MSDE, SMALL, msde
from tests.pictures import write_discs

pytestmark = pytest.mark.slow  # whole jobs


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    root = tmp_path_factory.mktemp("job")
    write_discs(root / "train", 40)
    write_discs(root / "new" / "normal", 4, seed=1)
    write_discs(root / "new" / "abnormal", 4, seed=2, lesion=True)
    done = msde("fit", root / "train", "-o", root / "model.msde", "--cache", root / "cache", *SMALL)
    assert done.returncode == 0, done.stderr
    return root


def test_one_file_holds_the_worklist(job, tmp_path):
    path = tmp_path / "report.html"
    done = msde(
        "report", job / "model.msde", job / "new", "-o", path, "--normals", job / "train", "--cache", job / "cache"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "40 of 48 embeddings came from the cache" in done.stderr
    assert os.listdir(tmp_path) == ["report.html"]
    page = path.read_text(encoding="utf-8")
    assert "40 images, of which the model was fitted on 40" in page
    assert page.count('<tr role="row" id="case-') == page.count("data-alike=") == 8
    first = re.findall(r'href="#case-[1-4]"><bdi>([^<]*)</bdi>', page)
    assert sorted(first) == [f"abnormal/00{number}.png" for number in range(4)]
    assert "model.msde" in page
    for private in (str(job), str(tmp_path)):
        assert private not in page


def test_without_normals_there_is_nothing_to_compare_with(job, tmp_path):
    assert msde("report", job / "model.msde", job / "new", "-o", tmp_path / "r.html").returncode == 0
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "data-alike=" not in page
    assert "<dd>none were given</dd>" in page


def test_an_image_that_cannot_be_used_has_its_line_and_status_3(job, tmp_path):
    folder = write_discs(tmp_path / "mixed", 2)
    (folder / "bad.png").write_bytes(b"no image")
    done = msde("report", job / "model.msde", folder, "-o", tmp_path / "r.html")
    assert done.returncode == 3
    assert "bad.png" in done.stderr
    assert "bad.png: is not an image" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_an_unwritable_output_is_named_before_the_work(job, tmp_path):
    done = msde("report", job / "no.msde", job / "new", "-o", tmp_path / "missing" / "r.html")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "missing/r.html" in done.stderr


def test_a_killed_report_leaves_the_old_one(job, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    running = subprocess.Popen([MSDE, "report", job / "model.msde", job / "new", "-o", path])
    while running.poll() is None and len(os.listdir(tmp_path)) == 1:
        pass
    running.kill()
    running.wait()
    assert path.read_text() == "old" or path.read_text().endswith("</html>\n")
