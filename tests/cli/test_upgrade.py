import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.command import msde

from msde import AnomalyModel
from msde.model.file import read_model
from msde.storage.bundle import FORMAT_VERSION, format_version

DATA = Path(__file__).parents[1] / "data"
FILES = sorted(DATA.glob("format?/*.msde"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_model_scores_as_it_did_and_is_rewritten(file, tmp_path):
    with np.load(file.parent / "scores.npz") as kept:
        expected = dict(kept)
    images = list(expected["images"])
    path = tmp_path / "m.msde"
    shutil.copyfile(file, path)
    before = format_version(path)
    done = msde("upgrade", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert format_version(path) == FORMAT_VERSION
    if before == FORMAT_VERSION:
        assert done.stdout == f"{path}: is of format {before} already\n"
        assert path.read_bytes() == file.read_bytes()
    else:
        assert (tmp_path / f"m.msde.format-{before}").read_bytes() == file.read_bytes()
    for model in (AnomalyModel.load(file), AnomalyModel.load(path)):
        scores = model.score(images)
        np.testing.assert_allclose([score.anomaly_score for score in scores], expected[file.stem], rtol=1e-6)
        np.testing.assert_array_equal([score.p_value for score in scores], expected[f"{file.stem}_p"])
    if file.parent.name == "format5" and file.stem == "inductive":
        (_, explanation) = next(iter(AnomalyModel.load(path).explain_iter(images[3:4])))
        np.testing.assert_allclose(explanation.heat, expected["heat"][0], atol=2e-3)


def test_upgrade_leaves_alone_what_it_cannot_write(tmp_path):
    path = tmp_path / "m.msde"
    shutil.copyfile(DATA / "format3" / "inductive.msde", path)
    (tmp_path / "m.msde.format-3").write_text("another file")
    done = msde("upgrade", path)
    assert done.returncode == 1
    assert "m.msde.format-3: is there already" in done.stderr
    assert path.read_bytes() == (DATA / "format3" / "inductive.msde").read_bytes()
    done = msde("upgrade", path, "-o", tmp_path / "new.msde", "--json")
    assert '"format": 3' in done.stdout
    assert format_version(tmp_path / "new.msde") == FORMAT_VERSION
    assert read_model(tmp_path / "new.msde")[0].fingerprint.sha256 == read_model(path)[0].fingerprint.sha256
    (tmp_path / "none.msde").write_bytes(b"no model")
    assert msde("upgrade", tmp_path / "none.msde").returncode == 1
