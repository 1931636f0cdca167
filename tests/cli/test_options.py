"""One way of saying things: all commands beside each other."""

import json
from collections import defaultdict

import click
import pytest
from click.shell_completion import BashComplete
from tests.command import msde as run

from msde.cli.completion import SHELLS
from msde.cli.main import msde
from msde.cli.serve import BESIDE

# Runs until it is stopped, and its log is JSON; prints a script.
WITHOUT_ANSWER = {"msde serve", "msde completion"}
# The same word for two things, each the usual word for it.
TWO_MEANINGS = {
    "--backbone",  # of `pretrain` one, to start from
    "--heatmaps",  # of `fit` whether, of `score` where
    "--normal",  # of `data check` labels of a file of arrays
}
OTHER_NAMES = {
    "--jobs": "--workers",
    "--n-jobs": "--workers",
    "--processes": "--workers",
    "--size": "--input-size",
    "--out": "--output",
    "--weights": "--checkpoint",
    "--verbose": "--quiet",
    "--unlabeled": "--unlabelled",
    "--fpr": "--alpha",
    "--threads": "--workers",
}


def leaves(command, name):
    """Name every command that does something."""
    if isinstance(command, click.Group):
        for word, inner in command.commands.items():
            yield from leaves(inner, f"{name} {word}")
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield name, command


def commands():
    for word in msde.list_commands(click.Context(msde)):
        yield from leaves(msde.get_command(click.Context(msde), word), f"msde {word}")
    for word, command in BESIDE.items():
        yield from leaves(command, f"msde serve {word}")


COMMANDS = dict(commands())


def options(command):
    return [option for option in command.params if isinstance(option, click.Option)]


def test_every_command_can_be_quiet_and_gives_json():
    for name, command in COMMANDS.items():
        names = {word for option in options(command) for word in option.opts}
        assert names >= {"--quiet", "--json"} or name in WITHOUT_ANSWER, name


def test_an_option_is_the_same_in_every_command():
    uses: dict[str, dict] = defaultdict(dict)
    for name, command in COMMANDS.items():
        for option in options(command):
            for word in option.opts:
                assert word not in OTHER_NAMES, f"{name} {word}: elsewhere {OTHER_NAMES[word]}"
                uses[word][name] = (type(option.type), option.multiple, option.is_flag)
    for word, kinds in uses.items():
        assert len(set(kinds.values())) == 1 or word in TWO_MEANINGS, (word, kinds)


def test_options_of_one_meaning_have_one_name():
    meanings = defaultdict(set)
    for command in COMMANDS.values():
        for option in options(command):
            meanings[option.help].add(tuple(option.opts))
    assert {said: names for said, names in meanings.items() if len(names) > 1} == {}


def test_what_is_written_is_named_by_o():
    for name, command in COMMANDS.items():
        for option in options(command):
            assert ("--output" in option.opts) == ("-o" in option.opts), name


@pytest.mark.parametrize("name", COMMANDS)
def test_bad_usage_ends_with_2_and_help_with_0(name):
    words = name.split()[1:]
    assert run(*words, "--no-such-option").returncode == 2
    done = run(*words, "--help")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "words",
    [
        ("info", "gone.msde"),
        ("card", "gone.msde"),
        ("upgrade", "gone.msde"),
        ("export", "gone.msde", "-o", "out"),
        ("score", "gone.msde", "x.png"),
        ("calibrate", "gone.msde", "x.png", "-o", "new.msde"),
        ("evaluate", "gone.msde", "--normal", "x.png", "--abnormal", "x.png"),
        ("report", "gone.msde", "x.png", "-o", "r.html"),
        ("embed", "x.png", "--model", "gone.msde", "-o", "e.parquet"),
    ],
)
def test_what_fails_ends_with_1_and_one_line(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*words, "--json", "figures.json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "msde: gone.msde: no such file; make a model with `msde fit NORMALS -o gone.msde`\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("msde", "sc"), "score"),
        (("msde", "fit", "normals", "--una"), None),
        (("msde", "fit", "normals", "--unl"), "--unlabelled"),
        (("msde", "fit", "normals", "--backbone", "rad-"), "rad-dino"),
        (("msde", "fit", "normals", "--aspect", "l"), "letterbox"),
        (("msde", "backbones", "rad-"), "rad-dino"),
        (("msde", "serve", "aud"), "audit"),
        (("msde", "serve", "user", "r"), "remove"),
        (("msde", "score", "m.msde", ""), ""),  # files are left to the shell
    ],
)
def test_a_shell_completes(words, offered):
    found = BashComplete(msde, {}, "msde", "_MSDE_COMPLETE").get_completions(list(words[1:-1]), words[-1])
    assert offered in [item.value for item in found] if offered is not None else not found
    assert offered != "" or found[0].type == "file"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_a_shell_is_printed(shell):
    done = run("completion", shell)
    assert done.returncode == 0
    assert f"_MSDE_COMPLETE={shell}_complete" in done.stdout


def test_json_is_printed_in_place_of_words(plain_model, tmp_path):
    plain_model.save(tmp_path / "m.msde")
    words = run("backbones", "efficientnet_lite0")
    printed = run("backbones", "efficientnet_lite0", "--json")
    assert printed.stdout.startswith("{")
    assert not words.stdout.startswith("{")
    assert run("backbones", "efficientnet_lite0", "--json", tmp_path / "b.json").stdout == words.stdout
    assert (tmp_path / "b.json").read_text() == printed.stdout
    assert run("info", tmp_path / "m.msde", "--json").stdout == run("info", tmp_path / "m.msde").stdout
    done = run("info", tmp_path / "m.msde", "--json", tmp_path / "gone" / "b.json")
    assert (done.returncode, done.stdout) == (1, "")
    done = run("score", tmp_path / "m.msde", tmp_path, "--json")
    assert done.returncode == 2
    assert "give the table a file with -o" in done.stderr


@pytest.mark.slow
def test_a_quiet_command_says_what_went_wrong_alone(plain_model, discs, tmp_path):
    plain_model.save(tmp_path / "m.msde")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    said = {}
    for flags in ((), ("--quiet",), ("--json",)):
        arguments = (
            "calibrate",
            tmp_path / "m.msde",
            discs / "normal",
            tmp_path / "bad.png",
            "-o",
            tmp_path / "c.msde",
        )
        done = run(*arguments, *flags)
        assert done.returncode == 3
        assert "bad.png" in done.stderr
        said[flags] = done.stdout
    assert said[()].startswith(f"{tmp_path / 'c.msde'}: calibrated on 12 normal images")
    assert said[("--quiet",)] == ""
    figures = json.loads(said[("--json",)])
    assert figures["calibration"]["normals"] == 12
    assert len(figures["errors"]) == 1
