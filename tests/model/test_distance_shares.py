import numpy as np
import pytest
from tests.pictures import write_discs

from msde import AnomalyModel, MSDEDetector
from msde.embedding.encoder import Block
from msde.errors import MSDEError
from msde.method.scorers import InductiveScorer
from msde.model.distance_shares import check_shares, distance_shares

BLOCKS = [Block("net", "plain", "mean", f"level{number}", 5) for number in range(3)]


@pytest.mark.parametrize("shift", ["displacement", None])
def test_the_part_that_is_odd_has_the_largest_share(rng, shift):
    scorer = MSDEDetector(shift=shift).fit(rng.normal(size=(60, 15))).scorer_
    assert isinstance(scorer, InductiveScorer)
    row = np.zeros(15, np.float32)
    row[5:10] = 8
    shares = distance_shares(scorer, BLOCKS, "x.png", row)
    assert sum(share.share for share in shares) == pytest.approx(1)
    assert [share.level for share in shares] == ["level0", "level1", "level2"]
    assert shares[1].share > 0.8


def test_the_shares_of_an_image_name_all_columns_of_its_embedding(network, tmp_path):
    write_discs(tmp_path / "train", 6)
    model = AnomalyModel(network, detector=MSDEDetector()).fit(tmp_path / "train", heatmaps=False)
    image = next(iter(model.embed(tmp_path / "train")))
    assert image.embedding is not None
    blocks = model.session.blocks
    shares = distance_shares(check_shares(model.scorer_), blocks, image.name, image.embedding)
    assert {(share.view, share.pooling) for share in shares} == {
        ("plain", "mean"),
        ("plain", "std"),
        ("stretched", "mean"),
    }
    assert len(shares) == 3 * len(network.levels)
    assert sum(block.width for block in blocks) == len(image.embedding)


def test_only_a_distance_has_shares():
    with pytest.raises(MSDEError, match="only a model of inductive mode"):
        check_shares(MSDEDetector("transductive").fit(np.eye(4)).scorer_)
