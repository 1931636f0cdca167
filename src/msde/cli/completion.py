"""`msde completion`: a script with which a shell completes commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what completes commands, options, files and names of networks in a shell.

    Write it where the shell looks: ~/.local/share/bash-completion/completions/msde, a file _msde in a folder of zsh's
    $fpath, or ~/.config/fish/completions/msde.fish.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - one of SHELLS
    click.echo(kind(context.find_root().command, {}, "msde", "_MSDE_COMPLETE").source())
