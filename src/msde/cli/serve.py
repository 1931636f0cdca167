"""`msde serve`: models in, a page and a REST interface out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from msde.cli.data_folder import as_seconds, audit, purge
from msde.cli.options import with_device

BESIDE = {"audit": audit, "purge": purge}


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
@click.argument("models", nargs=-1, required=True, metavar="MODEL.msde...", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder for everything that is kept.")
@click.option(
    "--normals",
    multiple=True,
    metavar="PATH",
    type=click.Path(),
    help="Normals to show beside an image; may be repeated.",
)
@click.option(
    "--abnormal",
    multiple=True,
    metavar="PATH",
    type=click.Path(),
    help="The --abnormal images of the fit: the one most like an image is shown beside it; may be repeated.",
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
def serve(
    models: tuple[Path, ...], data: Path, pacs: Path | None, identifiers_key: Path | None, **further: Any
) -> None:
    """Serve models: a page for readers and a REST interface.

    Each model is served under the stem of its file name and read again when the file changes. At the first start
    DIR/admin-token holds the token to sign in with; docs/service.md tells how to add others. For research use only; not
    a medical device.

    Further: `msde serve audit verify --data DIR` checks the audit log, `msde serve purge --data DIR --keep 90d` removes
    pictures.
    """
    from msde.errors import MSDEError

    try:
        from msde.serve.launch import run
    except ImportError as error:
        raise MSDEError(f"the service needs {error.name}; run `pip install 'msde[serve]'`") from error
    from msde.serve.settings import Settings

    names = [model.stem for model in models]
    if len(set(names)) < len(names):
        raise MSDEError("two models have the same name; rename one file")
    files = tuple(str(model.absolute()) for model in models)
    pacs_file, key = (str(path.absolute()) if path else "" for path in (pacs, identifiers_key))
    run(Settings(data=str(data.absolute()), models=files, pacs=pacs_file, identifiers_key=key, **further))
