"""Pages of docs/ that are made of the program itself: the command line of the commands, REST of the routes.

Run: python tools/reference.py [--write]     (prints the pages, or puts them into docs/)
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import click
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydicom.uid import UID

from msde.cli.main import COMMANDS, msde
from msde.cli.serve import BESIDE
from msde.images.dicom_frame import read_syntaxes
from msde.serve.app import ROUTERS
from msde.serve.notify.link import _router
from msde.serve.notify.settings import NotifyFile
from msde.serve.pacs.instance import picture_classes
from msde.serve.pacs.routes import status_router, stow_router
from msde.serve.pacs.settings import StowSettings
from msde.serve.routes.access import _depends_on, a_reader, an_admin

DOCS = Path(__file__).resolve().parents[1] / "docs"
MADE = "<!-- Made by `python tools/reference.py --write`. -->"
SECTIONS = {
    "operation": "Health and metrics",
    "session": "Who asks",
    "images": "Images and scores",
    "verdicts": "What readers say",
    "events": "What changes",
    "models": "What scores",
    "audit": "What was done",
    "pacs": "Archives, with --pacs",
    "notifications": "Who is told, with --notify",
    "numbers": "Numbers over weeks",
    "studies": "Studies and reading lists",
    "preferences": "What a reader prefers",
}


# ---- the command line


def command_line() -> str:
    """Return the page of all commands."""
    parts = [
        "# Command line",
        MADE,
        "`msde COMMAND --help` prints the same. `PATH`, `IMAGES` and `NORMALS` are files, folders, which are searched"
        " recursively, or globs.",
        _table(("exit status", "what it means"), _statuses()),
    ]
    context = click.Context(msde, info_name="msde")
    for name in COMMANDS:
        parts += _command(f"msde {name}", msde.get_command(context, name))
    return "\n\n".join(parts) + "\n"


def _statuses() -> list[tuple[str, str]]:
    said = (msde.epilog or "").removeprefix("Exit status: ").rstrip(".")
    return [tuple(status.split(" ", 1)) for status in said.split("; ")]  # type: ignore[misc]


def _command(path: str, command: click.Command) -> Iterator[str]:
    """Yield the part of a command, and of those below it."""
    context = click.Context(command, info_name=path)
    yield f"{'#' * len(path.split())} {path}"
    yield cleandoc(command.help or "")
    yield f"```text\n{path} {' '.join(command.collect_usage_pieces(context))}\n```"
    options = [option for option in command.params if isinstance(option, click.Option)]
    if options:
        yield _table(("option", "what it does", "default"), (_option(option, context) for option in options))
    for name, below in sorted(_below(command).items()):
        yield from _command(f"{path} {name}", below)


def _below(command: click.Command) -> dict[str, click.Command]:
    """Return the commands below one; those of `serve` stand beside it."""
    return BESIDE if command.name == "serve" else getattr(command, "commands", {})


def _depth(context: click.Context) -> int:
    return len(context.command_path.split()) - 2


def _option(option: click.Option, context: click.Context) -> tuple[str, str, str]:
    names = [f"`{name}`" for name in (*option.opts, *option.secondary_opts)]
    takes = "" if option.is_flag else f" {_code(option.make_metavar(context))}"
    help_text = option.help or ""
    default = re.search(r" *\[default: (.*)\]$", help_text)
    shown = default.group(1) if default else _default(option)
    help_text = help_text[: default.start()] if default else help_text
    if option.envvar:
        help_text += f" Environment: `{option.envvar}`."
    return ", ".join(names) + takes, help_text, shown


def _default(option: click.Option) -> str:
    value = option.default
    if option.required:
        return "*required*"
    if option.is_flag and option.secondary_opts and value is not None:
        return f"`{(option.opts if value else option.secondary_opts)[0]}`"
    if option.is_flag or value is None or value == "" or callable(value) or "UNSET" in str(value).upper():
        return ""
    values = value if isinstance(value, list | tuple) else [value]
    return ", ".join(f"`{one}`" for one in values)


# ---- REST


def rest() -> str:
    """Return the page of all routes and of what goes in and out."""
    routes = [route for router in ROUTERS for route in router.router.routes if isinstance(route, APIRoute)]
    nothing: Any = None  # what they would work on
    asked_for = [
        status_router(nothing, list, ()),
        stow_router(nothing, StowSettings(instance_megabytes=1)),
        _router(NotifyFile(), []),
    ]
    routes += [route for router in asked_for for route in router.routes if isinstance(route, APIRoute)]
    described = get_openapi(title="MSDE", version="", routes=routes)
    schemas = described["components"]["schemas"]
    parts = [
        "# REST",
        MADE,
        "All routes of `msde serve`, as `GET /api/openapi.json` of a service describes them. [service.md](service.md)"
        " says who may come in, what an error looks like and what becomes of an image.",
        "## All routes",
        _table(("route", "who", "what it does"), (_overview(route) for route in routes)),
    ]
    for tag in dict.fromkeys(_tag(route) for route in routes):
        parts.append(f"## {SECTIONS.get(tag, tag.capitalize())}")
        for route in routes:
            if _tag(route) == tag:
                parts += _route(route, described["paths"][route.path])
    parts.append("## What goes in and out")
    for name in sorted(schemas):
        if not name.startswith(("HTTPValidation", "ValidationError", "Body_")):
            parts += _schema(name, schemas[name])
    return "\n\n".join(parts) + "\n"


def _tag(route: APIRoute) -> str:
    return str(route.tags[0]) if route.tags else "operation"


def _overview(route: APIRoute) -> tuple[str, str, str]:
    (method,) = route.methods
    return f"[`{method} {route.path}`](#{_anchor(f'{method} {route.path}')})", _who(route), _first(route.description)


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _who(route: APIRoute) -> str:
    if _depends_on(route.dependant, an_admin):
        return "admin"
    return "reader" if _depends_on(route.dependant, a_reader) else "open"


def _first(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())


def _route(route: APIRoute, methods: dict[str, Any]) -> Iterator[str]:
    (method,) = route.methods
    operation = methods[method.lower()]
    yield f"### {method} {route.path}"
    yield f"{route.description.strip()}\n\nFor: {_who(route)}."
    if parameters := operation.get("parameters"):
        yield _table(("parameter", "type", "what it is"), (_parameter(one) for one in parameters))
    if body := operation.get("requestBody"):
        yield f"In: {_content(body['content'])}"
    good = {status: answer for status, answer in operation["responses"].items() if status < "4"}
    bad = sorted(status for status in operation["responses"] if status >= "4")
    out = "; ".join(f"{status} {_content(answer.get('content', {}))}".strip() for status, answer in good.items())
    yield f"Out: {out}" + (f". Refusals: {', '.join(bad)}." if bad else ".")


def _parameter(parameter: dict[str, Any]) -> tuple[str, str, str]:
    schema = parameter["schema"]
    said = parameter.get("description", "")
    if "default" in schema and schema["default"] is not None:
        said += f" By default `{schema['default']}`."
    if parameter["in"] == "path":
        said += " In the path."
    return f"`{parameter['name']}`", _type(schema), said.strip()


def _content(content: dict[str, Any]) -> str:
    kinds = []
    for kind, described in content.items():
        schema = described.get("schema") or {}
        of = f" {_type(schema)}" if schema and kind == "application/json" else ""
        kinds.append(f"`{kind}`{of}")
    return " or ".join(kinds)


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    if said := _first(schema.get("description", "")):
        yield said
    rows = [(f"`{field}`", _type(of), of.get("description", "")) for field, of in schema.get("properties", {}).items()]
    if any(said for *_, said in rows):
        yield _table(("field", "type", "what it is"), rows)
    elif rows:
        yield _table(("field", "type"), (row[:2] for row in rows))


def _type(schema: dict[str, Any]) -> str:
    """Say in words what a value may be."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return "a form" if name.startswith("Body_") else f"[{name}](#{_anchor(name)})"
    if choices := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return " or ".join(dict.fromkeys(_type(choice) for choice in choices))
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "any")
    if kind == "array":
        items = schema.get("prefixItems")
        return f"list of {' and '.join(map(_type, items)) if items else _type(schema.get('items', {}))}"
    if schema.get("format") in {"date-time", "binary"}:
        return {"date-time": "time", "binary": "file"}[schema["format"]]
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    limits = f", {low:g} to {high:g}" if low is not None and high is not None else ""
    return f"{kind}{limits}"


# ---- the DICOM conformance statement


def conformance() -> str:
    """Return the page up to its mark as it is, and then the lists that the program goes by."""
    mark = "<!-- by tools/reference.py -->"
    written = (DOCS / "conformance.md").read_text(encoding="utf-8").partition(mark)[0]
    parts = [
        written + mark,
        "## Storage classes",
        "Of the standard's storage classes those of images, retired ones included.",
        _table(("SOP class", "UID"), sorted((str(UID(uid).name), f"`{uid}`") for uid in picture_classes())),
        "## Transfer syntaxes that are read",
        "Others are acknowledged and fail when they are scored, by the name of their kind.",
        _table(("transfer syntax", "UID"), ((str(UID(uid).name), f"`{uid}`") for uid in sorted(read_syntaxes()))),
    ]
    return "\n\n".join(parts) + "\n"


# ---- both


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{text}`"


PAGES = {"command-line.md": command_line, "rest.md": rest, "conformance.md": conformance}


def main() -> None:
    for name, page in PAGES.items():
        if "--write" in sys.argv[1:]:
            (DOCS / name).write_text(page(), encoding="utf-8")
        else:
            print(page(), end="")


if __name__ == "__main__":
    main()
