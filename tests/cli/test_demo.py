"""`msde demo` on a folder of the user's: few normals, and a volume among the images."""

from __future__ import annotations

import pytest
from PIL import Image
from tests.command import msde
from tests.pictures import write_discs

pytestmark = pytest.mark.slow


def test_few_normals_and_a_volume_do(tmp_path):
    write_discs(tmp_path / "train" / "normal", 12)
    write_discs(tmp_path / "test" / "normal", 4, seed=1)
    abnormal = write_discs(tmp_path / "test" / "abnormal", 4, seed=2, lesion=True)
    pages = [Image.open(path) for path in sorted(abnormal.iterdir())[:3]]
    pages[0].save(abnormal / "stack.tif", save_all=True, append_images=pages[1:])
    done = msde("demo", tmp_path, "-o", tmp_path / "out", "--no-open")
    assert done.returncode == 0, done.stderr
    assert "one-class: AUROC" in done.stdout
    assert "12 normals are too few to flag any image" in done.stdout
    assert {"cases.png", "report.html", "scores.csv", "model.msde"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    assert "stack.tif" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
