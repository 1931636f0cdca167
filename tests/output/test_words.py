import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.output.words import counted, how_often, printable


@pytest.mark.parametrize(
    ("p_value", "said"),
    [
        (1 / 310, "none of 309 held-out normal images scores this high"),
        (2 / 310, "about 1 in 160 normal images scores this high"),
        (0.02, "about 1 in 50 normal images scores this high"),
        (0.15, "about 1 in 7 normal images scores this high"),
        (0.16, "about 2 in 10 normal images score this high"),
        (0.73, "about 7 in 10 normal images score this high"),
        (0.949, "about 9 in 10 normal images score this high"),
        (1.0, "nearly every normal image scores this high"),
    ],
)
def test_a_p_value_in_words(p_value, said):
    assert how_often(p_value, 309) == said


@given(st.integers(1, 5000), st.data())
def test_the_words_are_within_a_rounding_of_the_p_value(n, data):
    p_value = data.draw(st.integers(1, n + 1)) / (n + 1)
    words = how_often(p_value, n).split()
    if words[0] == "about":
        share = int(words[1]) / int(words[3].replace(",", ""))
        assert share == pytest.approx(p_value, rel=0.34)
    elif words[0] == "none":
        assert p_value == 1 / (n + 1)
    else:
        assert p_value >= 0.95


def test_volumes_are_called_volumes():
    assert how_often(0.1, 50, "volume") == "about 1 in 10 normal volumes scores this high"


def test_things_are_counted():
    assert [counted(n, "case") for n in (0, 1, 2000)] == ["0 cases", "1 case", "2,000 cases"]


@given(st.text(st.characters(codec=None)))
def test_a_printable_name_is_printable_and_tells_names_apart(name):
    assert printable(name).isprintable()
    if name.isprintable():
        assert printable(name) == name


def test_marks_that_turn_the_text_around_are_spelt_out():
    assert printable("a\u202egnp.exe\n") == "a\\u202egnp.exe\\n"
