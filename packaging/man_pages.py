"""Writes the man pages of all commands, by click-man: `make man`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from click_man.core import write_man_pages

from featx import __version__
from featx_cli.main import featx


def main(folder: str) -> None:
    """Write the pages into a folder."""
    # The verbs are imported when they are named; click-man looks for those that are there.
    context = click.Context(featx)
    featx.commands = {name: featx.get_command(context, name) for name in featx.list_commands(context)}
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_man_pages("featx", featx, version=__version__, target_dir=folder)


if __name__ == "__main__":
    main(sys.argv[1])
