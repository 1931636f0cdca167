"""`msde serve`: models in, a page and a REST interface out."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL.msde...", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder for everything that is kept.")
@click.option("--normals", multiple=True, metavar="PATH", help="Normals to compare with; may be repeated.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes.")
@click.option("--database", default="", envvar="MSDE_DATABASE", show_envvar=True, help="URL. [default: SQLite in DIR]")
@click.option("--queue", default=1000, show_default=True, type=click.IntRange(1), help="Images that may wait.")
@click.option("--upload-mb", default=500, show_default=True, type=click.IntRange(1), help="Largest upload.")
@click.option("--unpacked-mb", default=2000, show_default=True, type=click.IntRange(1), help="Largest zip, unpacked.")
@click.option("--files", default=5000, show_default=True, type=click.IntRange(1), help="Most files in one upload.")
@click.option("--server-name", multiple=True, help="Host name by which readers call the service; may be repeated.")
@click.option("--https", is_flag=True, help="Readers come by the HTTPS of a proxy: cookies never go by HTTP.")
@click.option("--proxy-header", default="", help="Header in which a trusted proxy names the user.")
@click.option("--proxy", multiple=True, default=("127.0.0.1", "::1"), help="Address of a trusted proxy.")
@click.option("--admin", multiple=True, help="User named by the proxy who is an admin; may be repeated.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--pacs", default="", metavar="FILE.toml", help="Settings of DICOM in and out.")
def serve(
    models: tuple[Path, ...],
    data: Path,
    normals: tuple[str, ...],
    host: str,
    port: int,
    workers: int,
    database: str,
    queue: int,
    upload_mb: int,
    unpacked_mb: int,
    files: int,
    server_name: tuple[str, ...],
    https: bool,
    proxy_header: str,
    proxy: tuple[str, ...],
    admin: tuple[str, ...],
    device: str,
    pacs: str,
) -> None:
    """Serve models: a page for readers and a REST interface.

    Each model is served under the stem of its file name and read again when the file changes. At the first start
    DIR/admin-token holds the token to sign in with; docs/service.md tells how to add others. For research use only; not
    a medical device.
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
    run(
        Settings(
            data=str(data.absolute()),
            models=tuple(str(model.absolute()) for model in models),
            normals=normals,
            database=database,
            host=host,
            port=port,
            workers=workers,
            queue=queue,
            upload_bytes=upload_mb * 1_000_000,
            unpacked_bytes=unpacked_mb * 1_000_000,
            files=files,
            hosts=server_name,
            proxy_header=proxy_header,
            proxies=proxy,
            admins=admin,
            https=https,
            device=device,
            pacs=str(Path(pacs).absolute()) if pacs else "",
        )
    )
