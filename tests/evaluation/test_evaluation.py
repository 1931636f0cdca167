import pytest
from PIL import Image
from tests.pictures import disc

from msde.errors import DataError
from msde.evaluation.evaluation import evaluate_model
from msde.images import find_images


def test_the_figures(model, discs):
    evaluation = evaluate_model(model, find_images([discs / "normal"]), find_images([discs / "abnormal"]))
    figures = evaluation.figures()
    assert figures["auroc"] == figures["ap"] == 1
    assert figures["auroc_ci"] == [1, 1]
    assert (figures["n_normal"], figures["n_abnormal"], figures["n_unreadable"]) == (12, 12, 0)
    assert figures["sensitivity"] == 1
    assert figures["n_seen_in_training"] == 0


def test_training_images_among_the_evaluated_are_counted(model, discs):
    normals = find_images([discs / "train"])[:4]
    evaluation = evaluate_model(model, normals, find_images([discs / "abnormal"]))
    assert evaluation.figures()["n_seen_in_training"] == 4


def test_a_file_in_both_classes_is_refused(model, discs):
    paths = find_images([discs / "normal"])
    with pytest.raises(DataError, match=r"000\.png: given as normal and as abnormal"):
        evaluate_model(model, paths, paths)


def test_a_class_without_usable_images_is_refused(model, discs, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the abnormal images can be used.*bad\.png"):
        evaluate_model(model, find_images([discs / "normal"]), [tmp_path / "bad.png"])


def test_unreadable_images_are_counted_and_left_out(model, discs, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"")
    paths = [*find_images([discs / "abnormal"]), tmp_path / "bad.png"]
    evaluation = evaluate_model(model, find_images([discs / "normal"]), paths)
    assert evaluation.figures()["n_abnormal"] == 12
    assert len(evaluation.errors) == 1


def test_volumes_without_a_p_value_count_neither_as_flagged_nor_as_not(model, discs, tmp_path, rng):
    for name, lesion in (("normal", False), ("abnormal", True)):
        (tmp_path / name).mkdir()
        pages = [Image.fromarray(disc(rng, lesion=lesion)) for _ in range(2)]
        pages[0].save(tmp_path / name / "stack.tif", save_all=True, append_images=pages[1:])
    normal, abnormal = (find_images([discs / name, tmp_path / name]) for name in ("normal", "abnormal"))
    mixed, single = (evaluate_model(model, *both) for both in ((normal, abnormal), (normal[:12], abnormal[:12])))
    for name in ("false_alarm_rate", "sensitivity"):
        assert mixed.figures()[name] == single.figures()[name]
    of_volumes = evaluate_model(model, normal[12:], abnormal[12:])
    assert of_volumes.figures()["sensitivity"] is None
    assert not any("flagged" in line for line in of_volumes.summary())
