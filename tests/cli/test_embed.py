import pytest
from click.testing import CliRunner
from pyarrow import parquet
from tests.pictures import write_discs

from msde import AnomalyModel
from msde.cli.main import msde


@pytest.mark.slow
def test_embeddings_are_those_of_the_model(tmp_path):
    folder = write_discs(tmp_path / "discs", 9)
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    result = CliRunner().invoke(msde, ["embed", str(folder), "-o", str(tmp_path / "e.parquet")])
    assert result.exit_code == 3
    assert "1 images could not be used" in result.output
    rows = parquet.read_table(tmp_path / "e.parquet").to_pylist()
    for row, other in zip(rows, AnomalyModel().embed(folder), strict=True):
        assert (row["path"], row["error"]) == (other.name, other.error)
        assert row["embedding"] == (None if other.error else pytest.approx(other.embedding.tolist()))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["embed", "x", "-o", "e.csv"], "Parquet"),
        (["embed", "x"], "give -o FILE.parquet"),
        (["embed", "x", "--ray", "local"], "--ray needs -o"),
        (["score", "m", "x", "--ray", "local"], "--ray needs -o"),
        (["embed", "x", "--model", "m", "--look", "plain:mean"], "leave --backbone and --look out"),
        (["score", "m", "x", "--ray", "local", "-o", "s.txt"], "name it .csv, .jsonl or .parquet"),
        (["score", "m", "x", "--ray", "local", "-o", "s.csv"], "m: no such file"),
        (["score", "m", "x", "--ray", "local", "--parts", "p", "--why", "w.csv"], "--why does not go with --ray"),
        (["score", "m", "x", "--ray", "local", "--parts", "p", "--sigmoid"], "--sigmoid does not go with --ray"),
        (["fit", "x", "-o", "m", "--ray", "local", "--parts", "p", "--select"], "--select does not go with --ray"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments, reason):
    result = CliRunner().invoke(msde, arguments)
    assert result.exit_code != 0
    assert reason in result.output + str(result.exception)
