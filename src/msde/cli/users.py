"""`msde serve user`: who may come in with a token of the service."""

from __future__ import annotations

from pathlib import Path

import click

from msde.cli.data_folder import of_data, opened

_BY = "msde serve user"  # in the audit log


@click.group("user")
def user() -> None:
    """Add, list and remove users, whether the service runs or not; a change counts at once."""


@user.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["reader", "admin"]),
    default="reader",
    show_default=True,
    help="A reader sees, sends and judges images; an admin also changes models, and deletes.",
)
@of_data
def add(name: str, role: str, data: Path, database: str) -> None:
    """Add a user, and print the token to sign in with, which is kept nowhere: hand it over in private."""
    with opened(data, database) as (settings, found), found.write() as session:
        from msde.serve.audit import record
        from msde.serve.intake import users

        token = users.add(settings.folder, name, role)
        record(session, _BY, "add user", name=name, role=role)
    click.echo(token)


@user.command("list")
@of_data
def list_(data: Path, database: str) -> None:
    """List users and roles; a user may have several lines, each of another token."""
    with opened(data, database) as (settings, _):
        from msde.serve.intake import users

        for entry in users.listed(settings.folder):
            click.echo(f"{entry.user}\t{entry.role}")


@user.command()
@click.argument("name")
@of_data
def remove(name: str, data: Path, database: str) -> None:
    """Remove a user with all tokens, and end the sessions begun with these."""
    with opened(data, database) as (settings, found), found.write() as session:
        from msde.serve.audit import record
        from msde.serve.intake import users

        admins = users.remove(settings.folder, name)
        record(session, _BY, "remove user", name=name)
    click.echo(f"{name} is removed")
    if not admins:
        click.echo("msde: no admin is left; `msde serve user add NAME --role admin` adds one", err=True)
