"""Options that several commands share, each with one spelling and one help text."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from featx.errors import ConfigError, listing

_Command = TypeVar("_Command", bound=Callable[..., Any])

MANIFEST = click.argument("manifest", type=click.Path(path_type=Path))


def _read_config(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Make a TOML file's keys the defaults of the command, so that flags win."""
    if value is None or context.resilient_parsing:
        return value
    try:
        table = tomllib.loads(value.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--config {value}: cannot be read: {error}") from error
    section = table.get(context.info_name or "", table)
    known = {param.name for param in context.command.params}
    values = {key.replace("-", "_"): item for key, item in section.items()}
    unknown = sorted(key for key in values if key not in known)
    if unknown:
        flags = sorted(name.replace("_", "-") for name in known if name)
        raise ConfigError(f"--config {value}: unknown key {listing(unknown)}; known: {', '.join(flags)}")
    context.default_map = {**(context.default_map or {}), **values}
    return value


CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    help="TOML file with options of this command (keys as the long options); flags win.",
)
ROOT = click.option(
    "--root", type=click.Path(path_type=Path), help="Folder that image paths are relative to."
)
TASK = click.option(
    "--task",
    default="labels",
    show_default=True,
    help="Named task, TOML file, or POSITIVE:NEGATIVE with labels joined by + (NEGATIVE may be `rest`).",
)
STRICT_LABELS = click.option(
    "--strict-labels",
    is_flag=True,
    help="Refuse labels under `rest` that may be meant for another class, instead of warning.",
)
PROTOCOL = click.option(
    "--protocol",
    default="5x2",
    show_default=True,
    help="5x2 or any RxK, kfold:K, leave-one-group-out, bootstrap:B, holdout (the split column), or a fold file.",
)
SEED = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all chance."
)
WORKERS = click.option(
    "--workers",
    "-j",
    type=click.IntRange(min=1),
    help="Threads at work beside the network.  [default: cores]",
)
OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace finished results of the same name.")
DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what would be done, and stop.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
CACHE = click.option(
    "--cache",
    type=click.Path(path_type=Path),
    envvar="FEATX_CACHE",
    default=Path("cache"),
    show_default=True,
    help="Folder of caches (environment: FEATX_CACHE).",
)


def output(default: str, text: str) -> Callable[[_Command], _Command]:
    """Make an `--output` option.

    Parameters
    ----------
    default : str
        Folder if the option is not given.
    text : str
        Help.

    Returns
    -------
    callable
        A decorator.
    """
    return click.option(
        "--output", "-o", type=click.Path(path_type=Path), default=Path(default), show_default=True, help=text
    )


def print_json(value: Any) -> None:
    """Print JSON types on stdout.

    Parameters
    ----------
    value : Any
        JSON types.
    """
    click.echo(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False))


def print_table(rows: Iterable[Sequence[str]]) -> None:
    """Print rows on stdout, columns aligned.

    Parameters
    ----------
    rows : iterable of sequence of str
        The first is the head; all are of one length.
    """
    table = list(rows)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
