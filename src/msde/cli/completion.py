"""`msde completion`: a script with which a shell completes commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what completes commands, options, files and names of networks in a shell.

    Write it where the shell looks: ~/.local/share/bash-completion/completions/msde, a file _msde in a folder of zsh's
    $fpath, or ~/.config/fish/completions/msde.fish.
    """
    click.echo(SHELLS[shell](context.find_root().command, {}, "msde", "_MSDE_COMPLETE").source())
