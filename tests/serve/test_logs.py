"""The log under a flood."""

import json
import logging

import pytest

from msde.serve import logs
from msde.serve.logs import log, log_failure


@pytest.fixture
def written(capsys):
    """Give a function that reads the log's lines."""
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def fail(errno: int) -> None:
    try:
        raise OSError(errno, "no words")
    except OSError as error:
        log_failure("scoring failed", error)


def test_a_cause_has_one_line_a_second_which_says_how_many_were_left_out(written, monkeypatch):
    logs.set_up_logs()
    for _ in range(1000):
        fail(24)
        log("info", "request", route="/api/images", status=401, seconds=0.1)
    lines = written()
    assert [line["event"] for line in lines] == ["scoring failed", "request"]
    monkeypatch.setattr(logs, "PAUSE", 0.0)
    fail(24)
    assert [line["left_out"] for line in written()] == [999]
    fail(24)
    assert "left_out" not in written()[0]


def test_what_was_left_out_is_told_in_the_line_alone(written, monkeypatch, caplog):
    logs.set_up_logs()
    logging.getLogger().addHandler(caplog.handler)
    for number in range(3):
        monkeypatch.setattr(logs, "PAUSE", 0.0 if number == 2 else 100.0)
        log("warning", "a model was refused", model="a")
    assert [line.get("left_out") for line in written()] == [None, 1]
    assert [vars(record)["fields"] for record in caplog.records] == [{"model": "a"}] * 3


def test_other_causes_are_not_left_out(written):
    logs.set_up_logs()
    log("info", "request", route="/api/images", status=401, seconds=0.1)
    log("info", "request", route="/api/images", status=200, seconds=0.1)
    log("info", "request", route="/", status=200, seconds=0.1)
    log("warning", "a model was refused", model="a", reason="too old")
    log("warning", "a model was refused", model="b", reason="too old")
    assert len(written()) == 5


def test_lines_of_other_libraries_are_counted_by_the_library(written):
    logs.set_up_logs()
    for number in range(1000):
        logging.getLogger("asyncio").error("socket.accept() out of system resource %d", number)
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    assert [line["event"] for line in written()] == ["asyncio", "Invalid HTTP request received."]


def test_causes_that_are_made_up_take_no_more_memory(written):
    logs.set_up_logs()
    for number in range(5000):
        log("info", "request", route=str(number))
    (handler,) = logging.getLogger().handlers
    assert len(handler.filters[0]._causes) <= 1000
    assert len(written()) == 5000
