"""The command itself, whatever it is told to do."""

import logging

from tests.command import msde


def test_a_command_leaves_the_log_as_it_was():
    notes = logging.getLogger("msde.images")
    before = notes.handlers[:], notes.propagate
    assert msde("--version").returncode == 0
    assert (notes.handlers, notes.propagate) == before
