import csv
import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from msde.errors import DataError
from msde.model.verdicts import DISPUTED, WITHDRAWN, WORDS, Verdict, Verdicts, by_digest, settled

HEADER = ["image", "name", "digest", "verdict", "note", "reader", "at", "model", "version", "anomaly_score", "p_value"]


def table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADER)
        writer.writeheader()
        writer.writerows(rows)
    return path


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_latest_word_of_each_reader_counts(tmp_path):
    said = [
        *(("a", "anna", "normal", ""), ("a", "anna", "abnormal", "0.02"), ("b", "anna", "normal", "0.5")),
        *(("b", "ben", "abnormal", "0.4"), ("c", "anna", "unsure", ""), ("d", "anna", "unsure", "")),
        *(("d", "ben", "normal", ""), ("e", "anna", "abnormal", ""), ("e", "anna", "unsure", "")),
    ]
    rows = [
        {"name": f"{name}.png", "digest": digest(name), "verdict": word, "reader": reader, "p_value": p_value}
        for name, reader, word, p_value in said
    ]
    found = Verdicts.read(table(tmp_path / "verdicts.csv", rows))
    assert found.labels == {digest("a"): True, digest("d"): False}
    assert found.contradicted == [digest("b")]
    assert found.contradictions() == ["b.png (anna: normal, ben: abnormal)"]
    assert found.n_unsure == 2
    assert found.p_values[digest("a")] == 0.02
    assert found.p_values[digest("b")] == 0.5  # when it was first looked at


SAID = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from([*WORDS, WITHDRAWN])), max_size=12
)


@given(SAID)
@example(
    [("a", "x", WITHDRAWN), ("b", "x", "normal"), ("a", "x", "normal"), ("a", "y", "abnormal"), ("b", "y", "abnormal")]
)
def test_what_was_withdrawn_counts_as_if_it_had_never_been_said(said):
    found = Verdicts.of(Verdict(image, image, word, reader) for image, reader, word in said)
    standing = [
        (image, reader, word)
        for place, (image, reader, word) in enumerate(said)
        if WITHDRAWN not in {later[2] for later in said[place:] if later[:2] == (image, reader)}
    ]
    without = Verdicts.of(Verdict(image, image, word, reader) for image, reader, word in standing)
    for told in ("labels", "contradicted", "n_unsure"):
        assert getattr(found, told) == getattr(without, told)


@given(st.lists(st.sampled_from(WORDS), max_size=6))
def test_an_image_is_settled_where_all_who_are_sure_say_the_same(words):
    sure = set(words) - {"unsure"}
    expected = {0: "unsure" if words else None, 1: next(iter(sure), None), 2: DISPUTED}
    assert settled(words) == expected[len(sure)]


@given(st.permutations([("a", "normal"), ("b", "abnormal"), ("c", "normal"), ("d", "unsure")]))
def test_the_order_of_images_changes_nothing(rows):
    found = Verdicts.of(Verdict(name, name, word) for name, word in rows)
    assert found.labels == {"a": False, "b": True, "c": False}


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "has no verdicts"),
        ([{"name": "a", "digest": digest("a"), "verdict": "healthy"}], "line 2: 'healthy' is no verdict"),
        ([{"name": "a", "digest": "12", "verdict": "normal"}], "line 2: '12' is no SHA-256"),
        ([{"name": "a", "digest": digest("a"), "verdict": "normal", "p_value": "low"}], "line 2: 'low' is no p-value"),
    ],
)
def test_a_table_that_tells_nothing_is_refused(tmp_path, rows, reason):
    with pytest.raises(DataError, match=reason):
        Verdicts.read(table(tmp_path / "v.csv", rows))


def test_what_is_no_table_of_verdicts_is_refused(tmp_path):
    (tmp_path / "v.csv").write_text("path,group\na,b\n")
    with pytest.raises(DataError, match="has no column name and none digest and none verdict"):
        Verdicts.read(tmp_path / "v.csv")
    with pytest.raises(DataError, match="cannot be read"):
        Verdicts.read(tmp_path / "none.csv")


def test_files_are_found_by_their_content(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    files = by_digest([tmp_path / "a", tmp_path / "b"])
    found = Verdicts.of([Verdict(digest("a"), "other.png", "normal"), Verdict(digest("z"), "z.png", "abnormal")])
    assert found.among(files, "here") == {tmp_path / "a": False}
    assert found.left_out(files) == ["1 images with verdicts are not there as single files, such as z.png"]
    with pytest.raises(DataError, match="here: holds none of the 2 images"):
        found.among({}, "here")
