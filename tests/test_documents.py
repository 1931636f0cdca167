"""The documents lead where they say, name options that exist, and tell a newcomer what is needed within two clicks."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from types import ModuleType

import click
import pytest

import msde as msde_package
from msde.cli.main import COMMANDS, msde
from msde.cli.serve import BESIDE
from tests.documents import DOCS, INDEX, ROOT, anchors, blocks, links, title, without_blocks
from tests.requirements import REQUIREMENTS

PAGES = sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md")])
# What a newcomer looks for: the page's title, and the heading that answers.
LOOKED_FOR = {
    "first model": ("Five minutes to a worklist", "your-first-model"),
    "thresholds explained": ("Five minutes to a worklist", "thresholds-explained"),
    "PACS set-up": ("The PACS link", "the-pacs-file"),
    "how to repeat the paper": ("Repeat arXiv 2604.19191", "2-the-seven-sets"),
    "how to add a backbone": ("Architecture", "a-backbone"),
    "REST route list": ("REST", "all-routes"),
    "Python class reference": ("Python", "models-of-images"),
    "options of a command": ("Command line", "msde-fit"),
    "what a flag tells": ("For readers", "what-a-flag-tells"),
    "what heat means": ("Heat maps", "what-heat-means"),
    "upgrade": ("For hospitals", "back-up-and-upgrade"),
    "DICOM services": ("DICOM conformance statement", "overview"),
    "figures on sixteen sets": ("Figures", "the-sixteen-sets"),
}

NOT_SHOWN = {"held_out_from"}  # words for messages of this package
OF_OTHERS = {"--pass-user-headers"}  # of oauth2-proxy


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for target, anchor in links(page):
        assert target.exists(), f"{page.name}: {target}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name}: {target.name}#{anchor}"


def test_the_index_leads_to_every_page_once():
    listed = Counter(target for target, _ in links(INDEX))
    pages = {*DOCS.glob("*.md"), *DOCS.glob("notebooks/*.ipynb")} - {INDEX}
    assert pages - set(listed) == set()
    assert [target.name for target in pages if listed[target] > 1] == []


@pytest.mark.parametrize("what", LOOKED_FOR)
def test_a_newcomer_finds_it_within_two_clicks(what):
    wanted, anchor = LOOKED_FOR[what]
    found = [target for target, _ in links(INDEX) if target.suffix == ".md" and title(target) == wanted]
    assert found, f"no page {wanted!r} is one click from the index"
    assert anchor in anchors(found[0])


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.slow
def test_reference_pages_are_those_of_the_program(tool):
    for name, page in tool.PAGES.items():
        assert (DOCS / name).read_text(encoding="utf-8") == page(), "python tools/reference.py --write"


def test_what_pages_say_of_routes_and_fields_is_of_some_that_there_are():
    rest = (DOCS / "rest.md").read_text(encoding="utf-8")
    routes = set(re.findall(r"^### ([A-Z]+ /\S+)$", rest, re.MULTILINE))
    fields = {
        (record, field)
        for record, lines in re.findall(r"^### ([A-Z]\w+)\n(.*?)(?=^###|\Z)", rest, re.MULTILINE | re.DOTALL)
        for field in re.findall(r"^\| `(\w+)` \|", lines, re.MULTILINE)
    }
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        for method, path in re.findall(r"`(GET|POST|PUT|DELETE) (/api/[^`?]*)", page.read_text(encoding="utf-8")):
            assert path == "/api/openapi.json" or f"{method} {path}" in routes, f"{page.name}: {method} {path}"
    told = re.findall(r"^\| ([A-Z]\w+) (`\w+`.*?) \| ", (DOCS / "service.md").read_text(encoding="utf-8"), re.MULTILINE)
    named = {(record, field) for record, names in told for field in re.findall(r"`(\w+)`", names)}
    assert len(named) > 20
    assert named - fields == set()


@pytest.mark.slow  # imports scikit-learn
def test_the_python_page_has_every_public_method_and_attribute():
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    for name in msde_package.__all__:
        (shown,) = re.findall(rf"autoclass:: msde\.{name}\n   :members: (.*)", page)
        kinds = [kind for kind in getattr(msde_package, name).__mro__ if kind.__module__.startswith("msde.")]
        own = {
            word for kind in kinds for word, what in vars(kind).items() if callable(what) or isinstance(what, property)
        }
        public = {word for word in own if not word.startswith(("_", "set_"))}  # scikit-learn makes set_fit_request
        assert public - set(shown.split(", ")) - NOT_SHOWN == set(), name


def commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        for language, code in blocks(page.read_text(encoding="utf-8")):
            if language in {"", "console", "sh"}:
                joined = code.replace("\\\n", " ")
                yield from ((page.name, line) for line in re.findall(r"^(?:\$ )?(msde [a-z].*)$", joined, re.MULTILINE))


def test_commands_of_all_pages_have_the_options_that_they_show():
    shown = list(commands())
    assert len(shown) > 50
    for page, line in shown:
        words = shlex.split(re.split(r" [|&>]", line)[0], comments=True)[1:]
        try:
            understand(words)
        except click.UsageError as error:
            if "does not exist" not in error.message:  # a folder of the example
                pytest.fail(f"{page}: {line}: {error.format_message()}")


def test_options_that_pages_name_are_those_of_a_command_or_a_benchmark():
    known = {"--help", "--version", *OF_OTHERS}
    waiting: list[click.Command] = [msde, *BESIDE.values()]
    while waiting:
        command = waiting.pop()
        known |= {word for option in command.params for word in (*option.opts, *option.secondary_opts)}
        if isinstance(command, click.Group):
            context = click.Context(command)
            waiting += filter(None, (command.get_command(context, name) for name in command.list_commands(context)))
    for script in ROOT.glob("benchmarks/*.py"):
        known |= set(re.findall(r"[\"'](--[a-z][\w-]*)[\"']", script.read_text(encoding="utf-8")))
    for page in PAGES:
        spans = re.findall(r"`((?:msde |--)[^`\n]+)`", without_blocks(page.read_text(encoding="utf-8")))
        named = {word for span in spans for word in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", span)}
        assert page.name == "CHANGELOG.md" or named - known == set(), page.name


def understand(words: list[str]) -> None:
    context = click.Context(msde)
    command, words = msde.get_command(context, words[0]), words[1:]
    assert command is not None
    while words and words[0] in (below := BESIDE if command.name == "serve" else getattr(command, "commands", {})):
        command, words = below[words[0]], words[1:]
    command.make_context("msde", words)


def test_every_environment_variable_is_described():
    context = click.Context(msde)
    options = [option for name in COMMANDS for option in msde.get_command(context, name).params]
    variables = {str(option.envvar) for option in options if option.envvar}
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    assert len(variables) > 3
    assert {variable for variable in variables if f"`{variable}`" not in page} == set()


@pytest.mark.parametrize("place", [".ci/run", ".github/workflows/ci.yml", "CONTRIBUTING.md"])
def test_what_tests_need_of_debian_is_named_wherever_all_of_it_is_installed(place):
    remedies = " ; ".join(one.remedy for one in REQUIREMENTS.values() if one.may_be_had)
    needed = {
        word for words in re.findall(r"apt-get install ([^;]+)", remedies) for word in words.split() if word[0] != "-"
    }
    assert len(needed) > 5
    assert needed - set(re.findall(r"[\w-]+", (ROOT / place).read_text(encoding="utf-8"))) == set()
