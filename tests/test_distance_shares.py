import numpy as np
import pytest

from msde import AnomalyModel, MSDEDetector
from msde.distance_shares import distance_shares
from msde.embedding.encoder import Block
from msde.errors import MSDEError
from tests.pictures import write_discs

BLOCKS = [Block("net", "plain", "mean", f"level{number}", 5) for number in range(3)]


@pytest.mark.parametrize("shift", ["displacement", None])
def test_the_part_that_is_odd_has_the_largest_share(rng, shift):
    scorer = MSDEDetector(shift=shift).fit(rng.normal(size=(60, 15))).scorer_
    row = np.zeros(15, np.float32)
    row[5:10] = 8
    shares = distance_shares(scorer, BLOCKS, "x.png", row)
    assert sum(share.share for share in shares) == pytest.approx(1)
    assert [share.level for share in shares] == ["level0", "level1", "level2"]
    assert shares[1].share > 0.8


def test_the_shares_of_an_image_name_all_columns_of_its_embedding(tmp_path):
    write_discs(tmp_path / "train", 6)
    model = AnomalyModel(detector=MSDEDetector()).fit(tmp_path / "train", heatmaps=False)
    image = next(iter(model.embed(tmp_path / "train")))
    shares = model.distance_shares(image)
    assert {(share.view, share.pooling) for share in shares} == {
        ("plain", "mean"),
        ("plain", "std"),
        ("stretched", "mean"),
    }
    assert len(shares) == 12
    assert sum(block.width for block in model._session.blocks) == len(image.embedding)
    model.scorer_ = MSDEDetector("transductive").fit(np.eye(4)).scorer_
    with pytest.raises(MSDEError, match="only a model of inductive mode"):
        model.distance_shares(image)
