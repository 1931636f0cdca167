"""`msde serve`: models in, a page and a REST interface out."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from msde.cli.backup import backup, restore
from msde.cli.data_folder import as_seconds, audit, purge
from msde.cli.options import with_answer, with_device
from msde.cli.progress import answer
from msde.cli.users import user
from msde.output.words import printable

if TYPE_CHECKING:
    from msde.serve.settings import Settings

BESIDE: dict[str, click.Command] = {
    "audit": audit,
    "backup": backup,
    "purge": purge,
    "restore": restore,
    "user": user,
}


def _models_and_what_else(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete a model file, and at the first place what else is done to a data folder."""
    words = [] if context.params.get("models") else [name for name in BESIDE if name.startswith(begun)]
    return [*map(CompletionItem, words), CompletionItem(begun, type="file")]


class Megabytes(click.IntRange):
    """Megabytes, as bytes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Check the number, and multiply it."""
        return int(super().convert(value, param, ctx)) * 1_000_000


def _prefix(_: click.Context, __: click.Parameter, text: str) -> str:
    """Return a path prefix with a slash before it and none after."""
    parts = [part for part in text.split("/") if part]
    if not all(re.fullmatch(r"[\w.~-]+", part, re.ASCII) for part in parts) or parts[:1] in (["api"], ["dicomweb"]):
        raise click.BadParameter("must be a path such as /msde, of letters and digits, and not /api or /dicomweb")
    return "".join(f"/{part}" for part in parts)


class Serve(click.Command):
    """`msde serve`, whose first word may name what else is done to a data folder."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Go on with the other command, where one is named."""
        other = BESIDE.get(args[0]) if args else None
        if other is not None:
            return other.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def _viewer(_: click.Context, __: click.Parameter, url: str) -> str:
    """Check the address of a viewer."""
    if url and (not re.match(r"https?://[^/\s]", url) or "{study}" not in url):
        raise click.BadParameter("must be like https://ohif.example/viewer?StudyInstanceUIDs={study}")
    return url


def _kept(context: click.Context, param: click.Parameter, period: str) -> int:
    """Return how long pictures are kept, in seconds; 0 for good."""
    seconds = as_seconds(context, param, period)
    if period and not seconds:
        raise click.BadParameter("must be longer than 0; leave it out, and pictures are kept for good")
    return seconds


@click.command(cls=Serve)
@click.argument(
    "models",
    nargs=-1,
    required=True,
    metavar="MODEL.msde...",
    type=click.Path(path_type=Path),
    shell_complete=_models_and_what_else,
)
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder for everything that is kept.")
@click.option(
    "--normals",
    multiple=True,
    metavar="[NAME=]PATH",
    type=click.Path(),
    help="Normals to show beside an image, of all models or of the one of that name; may be repeated.",
)
@click.option(
    "--abnormal",
    multiple=True,
    metavar="[NAME=]PATH",
    type=click.Path(),
    help="The --abnormal images of the fit, likewise: the one most like an image is shown beside it; may be repeated.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Number of processes.")
@click.option("--database", default="", envvar="MSDE_DATABASE", show_envvar=True, help="URL. [default: SQLite in DIR]")
@click.option("--queue", default=1000, show_default=True, type=click.IntRange(1), help="Images that may wait.")
@click.option(
    "--upload-mb", "upload_bytes", default=500, show_default=True, type=Megabytes(1), help="Largest upload, in MB."
)
@click.option(
    "--unpacked-mb", "unpacked_bytes", default=2000, show_default=True, type=Megabytes(1), help="MB of a zip, unpacked."
)
@click.option("--files", default=5000, show_default=True, type=click.IntRange(1), help="Most files in one upload.")
@click.option(
    "--reserve-mb",
    "reserve",
    default=1000,
    show_default=True,
    type=Megabytes(0),
    help="MB of the disk that uploads leave free, at most a twentieth of it.",
)
@click.option(
    "--connections", default=500, show_default=True, type=click.IntRange(1), help="Most connections of a process."
)
@click.option(
    "--connections-of-one",
    default=100,
    show_default=True,
    type=click.IntRange(1),
    help="Most connections of an address that is no proxy's.",
)
@click.option("--server-name", "hosts", multiple=True, help="Host name that readers use; may be repeated.")
@click.option(
    "--root-path",
    default="",
    callback=_prefix,
    metavar="/PREFIX",
    help="Path below which a reverse proxy serves it, whether the proxy takes it off or not.",
)
@click.option("--https", is_flag=True, help="Readers come by HTTPS through a proxy: send no cookies by HTTP.")
@click.option("--proxy-header", default="", help="Header in which a trusted proxy names the user.")
@click.option("--proxy", "proxies", multiple=True, default=("127.0.0.1", "::1"), help="Address of a trusted proxy.")
@click.option("--admin", "admins", multiple=True, help="User named by the proxy who is an admin; may be repeated.")
@click.option(
    "--proxy-groups-header",
    "groups_header",
    default="",
    help="Header in which that proxy lists the user's groups, with commas.",
)
@click.option("--admin-group", "admin_groups", multiple=True, help="Group whose members are admins; may be repeated.")
@click.option(
    "--reader-group",
    "reader_groups",
    multiple=True,
    help="Group whose members may come in; may be repeated. [default: whoever the proxy names]",
)
@click.option(
    "--sign-out-url", default="", metavar="URL", help="Where users of the proxy sign out, such as /oauth2/sign_out."
)
@with_device
@click.option(
    "--keep",
    default="",
    callback=_kept,
    metavar="PERIOD",
    help="How long pictures are kept, such as 90d; scores and verdicts stay. [default: for good]",
)
@click.option(
    "--identifiers",
    is_flag=True,
    help="Show readers whom DICOM images are of; names are kept encrypted. [default: pseudonyms]",
)
@click.option(
    "--identifiers-key",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Key of --identifiers, made where it is missing. [default: DIR/identifiers-key]",
)
@click.option(
    "--viewer-url",
    default="",
    callback=_viewer,
    metavar="URL",
    help="Where the archive's viewer shows a study, such as https://ohif.example/viewer?StudyInstanceUIDs={study}.",
)
@click.option("--pacs", type=click.Path(path_type=Path), metavar="FILE.toml", help="Settings of DICOM in and out.")
@click.option(
    "--notify",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Who is told of flagged studies by webhook, HL7 or FHIR. [default: nobody]",
)
def serve(**given: Any) -> None:
    r"""Serve models: a page for readers and a REST interface.

    Each model is served under the stem of its file name and read again when the file changes. At the first start
    DIR/admin-token holds the token to sign in with; `msde serve user add` gives others. For research use only; not a
    medical device.

    Further, each with --help:

    \b
    msde serve check ...          whether this would start: with all that follows `msde serve`
    msde serve user add NAME      users: add, list, remove
    msde serve backup BACKUP      copy all that is kept; msde serve restore puts it back
    msde serve audit verify       check the audit log
    msde serve purge --keep 90d   remove pictures
    """
    settings = _settings(**given)
    from msde.serve.launch import run

    run(settings)


def _check(**given: Any) -> None:
    """Check whether the service would start with these options, without starting it or changing anything.

    Looks at data folder, disk, database, models, users, normals, the address and the archives, and says of each what
    it found: ok, warns of what the service can live with, fails of what ends its start. Exit status 1 if anything
    fails.
    """
    settings = _settings(**given)
    from msde.errors import MSDEError
    from msde.serve import preflight

    found = list(preflight.inspect(settings))
    lines = [f"{finding.state:6}{finding.what}: {printable(finding.words)}" for finding in found]
    answer({"findings": [asdict(finding) for finding in found]}, lines)
    failed = sum(finding.state == preflight.FAILS for finding in found)
    if failed:
        raise MSDEError(f"{failed} {'check fails' if failed == 1 else 'checks fail'}; the service would not start")


BESIDE["check"] = with_answer(click.Command("check", params=list(serve.params), callback=_check, help=_check.__doc__))


def _settings(models: tuple[Path, ...], data: Path, **further: Any) -> Settings:
    """Put the options together."""
    from msde.errors import MSDEError

    try:
        from msde.serve import launch  # noqa: F401 - with all that the service needs
    except ImportError as error:
        raise MSDEError(f"the service needs {error.name}; run `pip install 'msde[serve]'`") from error
    from msde.serve.settings import Settings

    if (further["admin_groups"] or further["reader_groups"]) and not further["groups_header"]:
        raise click.UsageError("groups come by --proxy-groups-header; give that too")
    if further["groups_header"] and not further["proxy_header"]:
        raise click.UsageError("--proxy-groups-header needs --proxy-header, which names the user")
    names = [model.stem for model in models]
    if len(set(names)) < len(names):
        raise MSDEError("two models have the same name; rename one file")
    files = tuple(str(model.absolute()) for model in models)
    for name in ("pacs", "notify", "identifiers_key"):
        further[name] = str(further[name].absolute()) if further[name] else ""
    return Settings(data=str(data.absolute()), models=files, **further)
