"""`msde serve user`: who may come in with a token of the service."""

from __future__ import annotations

from pathlib import Path

import click

from msde.cli.data_folder import of_data, opened
from msde.cli.options import with_answer
from msde.cli.progress import answer, say, tell

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
@with_answer
def add(name: str, role: str, data: Path, database: str) -> None:
    """Add a user, and print the token to sign in with, which is kept nowhere: hand it over in private."""
    with opened(data, database) as (settings, found), found.write() as session:
        from msde.serve.audit import record
        from msde.serve.intake import users

        token = users.add(settings.folder, name, role)
        record(session, _BY, "add user", name=name, role=role)
    answer({"name": name, "role": role, "token": token}, [token])


@user.command("list")
@of_data
@with_answer
def list_(data: Path, database: str) -> None:
    """List users and roles; a user may have several lines, each of another token."""
    with opened(data, database) as (settings, _):
        from msde.serve.intake import users

        entries = users.listed(settings.folder)
    answer(
        {"users": [{"name": entry.user, "role": entry.role} for entry in entries]},
        [f"{entry.user}\t{entry.role}" for entry in entries],
    )


@user.command()
@click.argument("name")
@of_data
@with_answer
def remove(name: str, data: Path, database: str) -> None:
    """Remove a user with all tokens, and end the sessions begun with these."""
    with opened(data, database) as (settings, found), found.write() as session:
        from msde.serve.audit import record
        from msde.serve.intake import users

        admins = users.remove(settings.folder, name)
        record(session, _BY, "remove user", name=name)
    say(f"{name} is removed")
    answer({"name": name, "admins_left": admins})
    if not admins:
        tell("no admin is left; `msde serve user add NAME --role admin` adds one")
