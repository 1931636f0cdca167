import csv

import pytest
from click.testing import CliRunner
from tests.command import SMALL

from msde.cli.main import msde


@pytest.fixture(scope="module")
def labelled(discs, tmp_path_factory):
    """The model file of a fit with labels, and what the fit said."""
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "kinds.csv").write_text(f"path,kind\n{discs / 'abnormal'},bright square\n")
    abnormal = [f"--abnormal={path}" for path in sorted((discs / "abnormal").iterdir())[:6]]
    options = ["-o", str(folder / "m.msde"), "--no-heatmaps", f"--kinds={folder / 'kinds.csv'}"]
    done = CliRunner().invoke(msde, ["fit", str(discs / "train"), *abnormal, *options], catch_exceptions=False)
    assert done.exit_code == 0
    return folder / "m.msde", done.output


def test_fit_tells_what_it_learnt_from(labelled):
    assert "and on 6 labelled abnormal images of 6 patients: 6 bright square" in labelled[1]


def test_scores_tell_which_evidence_spoke(labelled, discs, tmp_path):
    images = [str(path) for path in sorted((discs / "abnormal").iterdir())[6:]]
    done = CliRunner().invoke(msde, ["score", str(labelled[0]), *images, "-o", str(tmp_path / "s.csv")])
    assert done.exit_code == 0
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["flagged"] for row in rows} == {"true"}
    assert {row["evidence"] for row in rows} == {"like the abnormal images you labelled, bright square"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--kinds", "k.csv"], "give this too"),
        (["--abnormal", "x", "--mode", "transductive"], "--abnormal does not go with --mode transductive"),
        (["--abnormal", "x", "--unlabelled", "y", "--mode", "transductive"], "--mode adaptive and --unlabelled"),
    ],
)
def test_labels_go_with_scores_of_images_alone(arguments, reason, tmp_path):
    done = CliRunner().invoke(msde, ["fit", "x", "-o", str(tmp_path / "m"), *arguments])
    assert done.exit_code == 2
    assert reason in done.output


@pytest.mark.slow
def test_labels_have_a_say_in_what_a_pool_tells(discs, tmp_path):
    arguments = ["--abnormal", str(discs / "abnormal"), "--unlabelled", str(discs / "normal"), "--no-heatmaps"]
    done = CliRunner().invoke(msde, ["fit", str(discs / "train"), "-o", str(tmp_path / "m"), *arguments, *SMALL])
    assert done.exit_code == 0, done.output
    assert "no distinct abnormal group, or none that the labels confirm" in done.output
    assert "labelled abnormal images" in done.output


@pytest.mark.slow
def test_labels_among_the_normals_are_one_line(discs, tmp_path):
    normal = discs / "train" / "003.png"
    options = ["--abnormal", str(normal), "--no-heatmaps", *SMALL]
    done = CliRunner().invoke(msde, ["fit", str(discs / "train"), "-o", str(tmp_path / "m"), *options])
    assert "1 labelled abnormal images are among the normals" in str(done.exception)
    assert not (tmp_path / "m").exists()


def test_a_table_of_kinds_without_kinds_is_named(discs, tmp_path):
    (tmp_path / "kinds.csv").write_text("path,group\na,b\n")
    options = ["--abnormal", str(discs / "abnormal"), "--kinds", str(tmp_path / "kinds.csv")]
    done = CliRunner().invoke(msde, ["fit", str(discs / "train"), "-o", str(tmp_path / "m"), *options])
    assert "has no column kind" in str(done.exception)
