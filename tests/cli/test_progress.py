import io
import sys

import pytest

from msde.cli.progress import progress, tell_if_long
from msde.embedding.encoder import Encoder, EncoderSession


class Slow(EncoderSession):
    """Takes its time by its own account."""

    def __init__(self, network, seconds):
        super().__init__(Encoder((network,)), 1)
        self.seconds, self.asked = seconds, 0

    def expected_seconds(self, n_images):
        self.asked += 1
        return self.seconds * n_images


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_job_of_more_than_ten_minutes_is_told_of_before_it_starts(network, capsys):
    with progress("Scoring", 1000, Slow(network, 3.0)):
        told = capsys.readouterr().err
    side = network.input_size
    assert told.startswith("msde: 1000 images will take some 50 minutes (0.33 images/s at ")
    assert told.endswith(f"{side} x {side} pixels), less what is in a cache\n")


def test_with_the_size_at_which_it_would_be_faster(lite0_at_448, capsys):
    tell_if_long(Slow(lite0_at_448, 3.0), 1000)
    assert "at 448 x 448 pixels; a model fitted with --input-size 224 would take some 12)" in capsys.readouterr().err


@pytest.fixture(scope="module")
def lite0_at_448():
    from msde.backbones import load_backbone
    from msde.backbones.input_size import with_input_size

    return with_input_size(load_backbone(), 448)


def test_a_short_job_is_not_and_a_few_images_cost_no_pass(network, capsys):
    short, few = Slow(network, 0.01), Slow(network, 1000.0)
    tell_if_long(short, 1000)
    tell_if_long(few, 10)
    assert capsys.readouterr().err == ""
    assert (short.asked, few.asked) == (1, 0)


def test_a_pass_is_measured(network):
    session = EncoderSession(Encoder((network,)), 1)
    assert 0 < session.expected_seconds(1) < session.expected_seconds(1000)


def test_the_bar_names_images_a_second_from_the_first_one_on(network, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("Scoring", 3, Slow(network, 0.0)) as tick:
        tick()
        assert "images/s" in terminal.getvalue()
    with progress("Drawing", 3) as tick:
        tick()
    assert "images/s" not in terminal.getvalue().rpartition("Drawing")[2]
