"""`featx completion`: the script that makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from . import flags

__all__ = ["completion"]

_SHELLS = ("bash", "zsh", "fish")


@click.command(epilog=flags.example("featx completion bash"))
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    Where to put it for each SHELL, bash, zsh or fish: docs/installing.md.
    """
    made = get_completion_class(shell)
    assert made is not None, "click knows these shells"
    click.echo(made(ctx.find_root().command, {}, "featx", "_FEATX_COMPLETE").source())
