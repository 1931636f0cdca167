import numpy as np
import pytest
from PIL import Image
from tests.scores import assert_same_scores

from msde.errors import OutputError
from msde.images import find_images
from msde.output.heat_files import HeatFiles


def test_each_image_has_two_files_of_its_own(model, discs, tmp_path):
    paths = find_images([discs / "normal", discs / "abnormal"])
    scores = list(model.explain_each(paths, HeatFiles(tmp_path / "h", paths).written))
    assert_same_scores(scores, model.score(paths))
    assert sorted(path.relative_to(tmp_path / "h").as_posix() for path in (tmp_path / "h").rglob("*.png")) == sorted(
        f"{path.parent.name}/{path.name}.{kind}.png" for path in paths for kind in ("overlay", "heat")
    )
    explanation = model.explain(paths[-1])
    with Image.open(tmp_path / "h" / "abnormal" / f"{paths[-1].name}.heat.png") as image:
        assert image.mode == "I;16"
        np.testing.assert_allclose(np.asarray(image) / 65535, explanation.heat, atol=1e-4)
    with Image.open(tmp_path / "h" / "abnormal" / f"{paths[-1].name}.overlay.png") as image:
        assert np.abs(np.asarray(image)[:64, :64].astype(int) - explanation.overlay).max() <= 1


def test_names_do_not_lead_out_of_the_folder(model, discs, tmp_path, monkeypatch):
    monkeypatch.chdir(discs / "train")
    paths = [type(discs)("../abnormal/../normal/000.png"), type(discs)("000.png")]
    list(model.explain_each(paths, HeatFiles(tmp_path / "h", paths).written))
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.overlay.png"))
    assert written == ["h/normal/000.png.overlay.png", "h/train/000.png.overlay.png"]


def test_a_folder_that_holds_the_images_is_refused(discs):
    with pytest.raises(OutputError, match="holds images to be scored"):
        HeatFiles(discs, find_images([discs / "normal"]))


def test_a_folder_that_cannot_be_made_is_named(tmp_path, discs):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="file/h: cannot be written"):
        HeatFiles(tmp_path / "file" / "h", find_images([discs / "normal"]))
