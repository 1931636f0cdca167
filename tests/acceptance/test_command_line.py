"""Whole jobs, run as a user runs them."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.command import MSDE, SMALL, msde, started
from tests.pictures import disc, write_discs
from tests.scores import ROUNDING, assert_same_tables

pytestmark = pytest.mark.slow  # whole jobs


def one_line_error(done, *parts):
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for part in parts:
        assert part in done.stderr


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    root = tmp_path_factory.mktemp("job")
    write_discs(root / "train", 40)
    write_discs(root / "normal", 8, seed=1)
    write_discs(root / "abnormal", 8, seed=2, lesion=True)
    done = started("fit", root / "train", "-o", root / "model.msde", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "fitted on 40 normal images" in done.stdout
    assert done.stderr == ""
    return root


def test_score_writes_a_row_an_image(job, tmp_path):
    done = started("score", job / "model.msde", job / "normal", job / "abnormal", "-o", tmp_path / "scores.csv")
    assert done.returncode == 0
    assert (done.stdout, done.stderr) == ("", "")
    with open(tmp_path / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16
    assert {row["flagged"] for row in rows if "abnormal" in row["path"]} == {"true"}


def test_score_prints_csv_where_no_file_is_named(job):
    done = started("score", job / "model.msde", job / "normal" / "000.png")
    lines = done.stdout.splitlines()
    assert lines[0] == "path,anomaly_score,p_value,flagged,error"
    assert len(lines) == 2


def test_evaluate_prints_and_writes_its_figures(job, tmp_path):
    done = msde(
        *("evaluate", job / "model.msde", "--normal", job / "normal", "--abnormal", job / "abnormal"),
        *("--json", tmp_path / "figures.json"),
    )
    assert done.returncode == 0, done.stderr
    assert "AUROC  1.000  (95 % interval 1.000 to 1.000)" in done.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert {"auroc", "auroc_ci", "ap", "ap_ci", "n_normal", "n_abnormal"} <= figures.keys()


def test_evaluate_warns_of_training_images(job):
    done = msde("evaluate", job / "model.msde", "--normal", job / "train", "--abnormal", job / "abnormal")
    assert "40 of these images took part in the fit" in done.stderr


def test_info_is_json(job):
    information = json.loads(msde("info", job / "model.msde").stdout)
    assert information["training"]["images"] == 40
    assert information["encoder"]["backbones"][0]["name"] == "efficientnet_lite0"
    assert information["calibration"]["alpha"] == 0.05


def test_a_bad_image_in_a_batch_is_reported_in_its_row(job, tmp_path):
    write_discs(tmp_path / "mixed", 2)
    (tmp_path / "mixed" / "bad.png").write_bytes(b"no image")
    done = msde("score", job / "model.msde", tmp_path / "mixed", "-o", tmp_path / "s.jsonl")
    assert done.returncode == 3
    assert "bad.png" in done.stderr
    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert [row["error"] is None for row in rows] == [True, True, False]
    assert "bad.png" in rows[2]["error"]


def test_bad_images_of_every_kind_leave_the_others_scored(job, tmp_path, rng):
    folder = tmp_path / "bad"
    folder.mkdir()
    Image.fromarray(disc(rng)).save(folder / "whole.jpg", quality=95)
    whole = (folder / "whole.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("hello")
    Image.fromarray(np.zeros((1, 1), np.uint8)).save(folder / "one_pixel.png")
    Image.new("1", (20_000, 20_000)).save(folder / "huge.png")
    Image.fromarray(np.full((32, 32), np.nan, np.float32)).save(folder / "nan.tiff")
    done = msde("score", job / "model.msde", folder)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    rows = {Path(row["path"]).name: row for row in csv.DictReader(done.stdout.splitlines())}
    assert rows.pop("whole.jpg")["error"] == ""
    assert len(rows) == 6
    for name, row in rows.items():
        assert name in row["error"]
        assert row["anomaly_score"] == row["p_value"] == row["flagged"] == ""


def test_colour_modes_and_depths_are_scored(job, tmp_path, rng):
    folder = tmp_path / "modes"
    folder.mkdir()
    gray = Image.fromarray(disc(rng))
    for mode in ("P", "RGBA", "LA", "1", "RGB"):
        gray.convert(mode).save(folder / f"{mode}.png")
    gray.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(np.asarray(gray).astype(np.uint16) * 257).save(folder / "sixteen.png")
    Image.fromarray(np.asarray(gray).astype(np.float32) / 255).save(folder / "float.tiff")
    done = msde("score", job / "model.msde", folder)
    assert done.returncode == 0, done.stderr
    rows = {Path(row["path"]).name: float(row["anomaly_score"]) for row in csv.DictReader(done.stdout.splitlines())}
    assert len(rows) == 8
    for same in ("sixteen.png", "float.tiff", "RGBA.png", "P.png"):
        assert rows[same] == pytest.approx(rows["RGB.png"], rel=1e-4)


def test_names_that_no_table_likes_cost_no_row(job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [b"=1+1.png", b"a\rb.png", b"caf\xe9.png"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes((job / "normal" / "000.png").read_bytes())
    expected = ["'=1+1.png", "a\rb.png", r"caf\udce9.png"]
    plain = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "utf-8"}
    printed = subprocess.run(
        [MSDE, "score", job / "model.msde", *names], capture_output=True, env={**os.environ, **plain}
    )
    assert printed.returncode == 0, printed.stderr
    rows = list(csv.DictReader(io.StringIO(printed.stdout.decode(), newline="")))
    assert [row["path"] for row in rows] == expected
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    for command in (["score"], ["embed", "--model"]):
        done = msde(*command, job / "model.msde", *map(os.fsdecode, names), "-o", "s.parquet")
        assert done.returncode == 0, done.stderr
        assert parquet.read_table(tmp_path / "s.parquet")["path"].to_pylist() == ["=1+1.png", *expected[1:]]


def test_a_name_that_the_terminal_cannot_show_is_escaped(job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "日.png").write_bytes((job / "normal" / "000.png").read_bytes())
    done = started("score", job / "model.msde", "日.png", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith(r"\u65e5.png,")


def test_equal_names_in_different_folders_stay_apart(job, tmp_path):
    write_discs(tmp_path / "a", 1, seed=1)
    write_discs(tmp_path / "b", 1, seed=2)
    rows = list(csv.DictReader(msde("score", job / "model.msde", tmp_path).stdout.splitlines()))
    assert len({row["path"] for row in rows}) == 2


@pytest.mark.parametrize("command", ["fit", "score"])
def test_missing_and_empty_folders_are_named(job, tmp_path, command):
    (tmp_path / "empty").mkdir()
    for place in ("empty", "missing", "*.png"):
        arguments = ("-o", tmp_path / "m.msde") if command == "fit" else (job / "model.msde",)
        done = msde(command, *arguments, tmp_path / place)
        assert done.returncode == 1
        one_line_error(done, str(tmp_path / place))


def test_one_normal_is_too_few(tmp_path):
    write_discs(tmp_path / "one", 1)
    done = msde("fit", tmp_path / "one", "-o", tmp_path / "m.msde")
    assert done.returncode == 1
    one_line_error(done, "1 of 1 normal images", "give at least 2")
    assert not (tmp_path / "m.msde").exists()


def test_too_few_normals_to_flag_anything_are_said(tmp_path):
    write_discs(tmp_path / "few", 5)
    done = msde("fit", tmp_path / "few", "-o", tmp_path / "m.msde", "--no-heatmaps")
    assert done.returncode == 0
    one_line_error(done, "too few to flag any image", "give at least 19")


def test_an_unwritable_output_is_named_before_the_work(job, tmp_path):
    done = msde("fit", job / "train", "-o", tmp_path / "missing" / "m.msde")
    assert done.returncode == 1
    one_line_error(done, "missing/m.msde", "cannot be written")
    done = msde("score", job / "model.msde", job / "normal", "-o", tmp_path / "missing" / "s.csv")
    assert done.returncode == 1
    one_line_error(done, "missing/s.csv", "cannot be written")


def test_a_damaged_model_is_one_line(job, tmp_path):
    content = (job / "model.msde").read_bytes()
    (tmp_path / "cut.msde").write_bytes(content[: len(content) // 2])
    done = started("score", tmp_path / "cut.msde", job / "normal")
    assert done.returncode == 1
    one_line_error(done, "cut.msde", "no whole model file")


def test_an_unknown_backbone_is_one_line(job, tmp_path):
    done = msde("fit", job / "train", "-o", tmp_path / "m.msde", "--backbone", "nothing_like_it")
    assert done.returncode == 1
    one_line_error(done, "nothing_like_it", "efficientnet_lite0")


def test_abnormal_images_among_the_normals_are_listed(tmp_path):
    write_discs(tmp_path / "mixed", 60)
    write_discs(tmp_path / "mixed" / "hidden", 2, seed=5, lesion=True)
    done = msde(
        "fit",
        tmp_path / "mixed",
        "-o",
        tmp_path / "m.msde",
        "--distrusted",
        tmp_path / "list.txt",
        "--no-heatmaps",
        *SMALL,
    )
    assert done.returncode == 0, done.stderr
    listed = (tmp_path / "list.txt").read_text().splitlines()
    assert {Path(line).parent.name for line in listed[:2]} == {"hidden"}
    assert "stand out from the others" in done.stdout


def test_the_shift_can_be_left_out(job, tmp_path):
    done = msde("fit", job / "train", "-o", tmp_path / "m.msde", "--no-shift", "--no-heatmaps", *SMALL)
    assert done.returncode == 0, done.stderr
    with_shift, without = (json.loads(msde("info", m).stdout) for m in (job / "model.msde", tmp_path / "m.msde"))
    assert (with_shift["scorer"]["shift.n_neighbors"], without["scorer"]["shift"]) == (50, None)
    done = msde("fit", job / "train", "-o", tmp_path / "m.msde", "--no-shift", "--mode", "transductive")
    assert done.returncode == 2
    assert "--no-shift goes with --mode inductive" in done.stderr


def test_score_says_what_a_distance_is_made_of(job, tmp_path):
    done = msde("score", job / "model.msde", job / "abnormal", "-o", tmp_path / "s.csv", "--why", tmp_path / "why.csv")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "why.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 * 12
    assert {row["view"] for row in rows} == {"plain", "stretched"}
    of_one = [float(row["share"]) for row in rows if row["path"].endswith("000.png")]
    assert sum(of_one) == pytest.approx(1)


def test_the_published_procedure_from_images_to_its_output(job, tmp_path):
    published = [
        "--mode",
        "transductive",
        "--weighting",
        "published",
        "--gaussian",
        "pca",
        "--look",
        "plain:own",
        "--no-heatmaps",
    ]
    done = msde("fit", job / "train", "-o", tmp_path / "m.msde", *published, *SMALL)
    assert done.returncode == 0, done.stderr
    done = msde("score", tmp_path / "m.msde", job / "normal", job / "abnormal", "--sigmoid")
    scores = np.array([float(row["anomaly_score"]) for row in csv.DictReader(done.stdout.splitlines())])
    assert ((scores > 0) & (scores < 1)).all()
    deviations = np.log(scores / (1 - scores))
    np.testing.assert_allclose([deviations.mean(), deviations.std()], [0, 1], atol=1e-6)
    done = msde("score", job / "model.msde", job / "normal", "--sigmoid")
    assert done.returncode == 2
    assert "needs a model of transductive mode" in done.stderr


def test_calibrate_sets_the_threshold_anew_and_keeps_the_scores(job, tmp_path):
    write_discs(tmp_path / "local", 24, seed=9)
    done = msde("calibrate", job / "model.msde", tmp_path / "local", "-o", tmp_path / "local.msde", "--alpha", "0.1")
    assert done.returncode == 0, done.stderr
    assert "calibrated on 24 normal images" in done.stdout
    before, after = (json.loads(msde("info", m).stdout) for m in (job / "model.msde", tmp_path / "local.msde"))
    assert after["calibration"]["alpha"] == 0.1
    assert after["calibration"]["source"] != before["calibration"]["source"]
    image = job / "normal" / "000.png"
    models = (job / "model.msde", tmp_path / "local.msde")
    rows = [msde("score", model, image).stdout.splitlines()[1].split(",") for model in models]
    assert float(rows[0][1]) == pytest.approx(float(rows[1][1]), rel=ROUNDING)


def test_calibrate_refuses_training_images(job, tmp_path):
    done = msde("calibrate", job / "model.msde", job / "train", "-o", tmp_path / "m.msde")
    assert done.returncode == 1
    one_line_error(done, "000.png: took part in the fit", "40 of the calibration images")


def test_score_warns_of_another_population(job, tmp_path, rng):
    (tmp_path / "other").mkdir()
    for number in range(30):
        Image.fromarray(255 - disc(rng)).save(tmp_path / "other" / f"{number}.png")
    done = msde("score", job / "model.msde", tmp_path / "other", "-o", tmp_path / "s.csv")
    assert done.returncode == 0
    one_line_error(done, "do not look like the normals", "msde calibrate", "Not seen")
    write_discs(tmp_path / "same", 30, seed=8)
    assert msde("score", job / "model.msde", tmp_path / "same", "-o", tmp_path / "s.csv").stderr == ""


def test_unlabelled_images_make_an_adaptive_model(job, tmp_path):
    done = msde(
        "fit", job / "train", "--unlabelled", job / "abnormal", "-o", tmp_path / "m.msde", "--no-heatmaps", *SMALL
    )
    assert done.returncode == 0, done.stderr
    assert "the unlabelled images show" in done.stdout
    assert json.loads(msde("info", tmp_path / "m.msde").stdout)["mode"] == "adaptive"
    scored = msde("score", tmp_path / "m.msde", job / "abnormal", "-o", tmp_path / "s.csv")
    assert "were in the unlabelled pool" in scored.stderr
    assert msde("fit", job / "train", "--mode", "adaptive", "-o", tmp_path / "m.msde").returncode == 2


def test_a_rate_that_is_no_number_is_refused_before_the_work(job, tmp_path):
    assert msde("fit", job / "train", "-o", tmp_path / "m.msde", "--alpha", "nan").returncode == 2


def test_outputs_on_the_side_are_checked_before_the_work(job, tmp_path):
    done = msde("fit", job / "train", "-o", tmp_path / "m.msde", "--distrusted", tmp_path / "no" / "d.txt")
    assert done.returncode == 1
    one_line_error(done, "no/d.txt", "cannot be written")
    assert not (tmp_path / "m.msde").exists()


def test_a_pipe_is_no_model_file_to_write(job, tmp_path):
    os.mkfifo(tmp_path / "pipe.msde")
    done = msde("fit", job / "train", "-o", tmp_path / "pipe.msde")
    assert done.returncode == 1
    one_line_error(done, "Not a regular file")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_standard_output_is_one_line(job, unbuffered):
    with open("/dev/full", "w") as full:
        command, around = [MSDE, "info", job / "model.msde"], {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=around)
    assert done.returncode == 1
    one_line_error(done, "No space left on device")


def test_nothing_is_written_to_the_home_folder(job, tmp_path):
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = started("score", job / "model.msde", job / "normal", **home)
    assert done.returncode == 0
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_transductive_scores_come_without_p_values(job, tmp_path):
    done = msde("fit", job / "train", "-o", tmp_path / "t.msde", "--mode", "transductive", "--no-heatmaps", *SMALL)
    assert done.returncode == 0
    assert done.stderr == ""
    done = msde("score", tmp_path / "t.msde", job / "normal")
    assert "no p-values" in done.stderr
    assert {row["p_value"] + row["flagged"] for row in csv.DictReader(done.stdout.splitlines())} == {""}


def test_bad_usage_has_status_2(job):
    assert started("score").returncode == 2
    assert msde("fit", job / "train").returncode == 2
    assert msde("nonsense").returncode == 2
    assert msde("fit", job / "train", "-o", "m.msde", "--alpha", "1.5").returncode == 2
    assert msde("fit", job / "train", "-o", "m.msde", "--alpha", "1e-300").returncode == 2


def test_help_and_version_need_no_imports_that_take_time():
    code = (
        "import sys; sys.argv = ['msde', '--help']\n"
        "from msde.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code + "print('numpy' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert "research use only" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


def test_a_second_fit_takes_all_embeddings_from_the_cache(job, tmp_path):
    for found in (0, 40):
        done = msde(
            "fit", job / "train", "-o", tmp_path / "m.msde", "--cache", tmp_path / "cache", "--no-heatmaps", *SMALL
        )
        assert done.returncode == 0
        one_line_error(done, f"{found} of 40 embeddings came from the cache")
    done = msde("score", tmp_path / "m.msde", job / "train", MSDE_CACHE=str(tmp_path / "cache"))
    assert "40 of 40 embeddings came from the cache" in done.stderr
    assert_same_tables(done.stdout, msde("score", job / "model.msde", job / "train").stdout)
    done = msde(
        *("evaluate", tmp_path / "m.msde", "--normal", job / "train", "--abnormal", job / "abnormal"),
        *("--cache", tmp_path / "cache", "--cache-size", "500"),
    )
    assert "40 of 48 embeddings came from the cache" in done.stderr


def test_a_cache_that_cannot_be_used_is_one_line_and_the_work_goes_on(job, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    plain = msde("score", job / "model.msde", job / "normal")
    done = msde("score", job / "model.msde", job / "normal", "--cache", tmp_path / "file")
    assert done.returncode == 0
    assert_same_tables(done.stdout, plain.stdout)
    assert [str(tmp_path / "file") in line for line in done.stderr.splitlines()] == [True, False]
    local = write_discs(tmp_path / "local", 24, seed=9)
    done = msde(
        *("calibrate", job / "model.msde", local, "-o", tmp_path / "m.msde", "--cache", tmp_path / "file" / "below")
    )
    assert done.returncode == 0
    assert [f"{tmp_path / 'file' / 'below'}: the cache cannot be" in line for line in done.stderr.splitlines()] == [
        True,
        False,
    ]


def test_a_cache_without_room_is_refused_before_the_work(job, tmp_path):
    done = msde("fit", job / "train", "-o", tmp_path / "m.msde", "--cache", tmp_path / "c", "--cache-size", "0")
    assert done.returncode == 2
