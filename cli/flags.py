"""Options that several commands share, each with one spelling and one help text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from featx.documents import parse_toml, read_text
from featx.errors import ConfigError, listing

_Command = TypeVar("_Command", bound=Callable[..., Any])


MANIFEST = click.argument("manifest", type=click.Path(path_type=Path))


def _read_config(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Make a TOML file's keys the defaults of the command, so that flags win."""
    if value is None or context.resilient_parsing:
        return value
    try:
        table = parse_toml(read_text(value))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"--config {value}: cannot be read: {reason}") from error
    section = table.get(context.info_name or "", table)
    places = _places(context.command)
    given = {key.replace("_", "-"): item for key, item in section.items()}
    unknown = sorted(key for key in given if key not in places)
    if unknown:
        raise ConfigError(
            f"--config {value}: unknown key {listing(unknown)}; known: {', '.join(sorted(places))}"
        )
    values = {str(places[key].name): _value(key, item, places[key]) for key, item in given.items()}
    context.default_map = {**(context.default_map or {}), **values}
    return value


def _places(command: click.Command) -> dict[str, click.Parameter]:
    """Find what a file may set: a command's options by their long names, and its arguments by their names."""
    options = [
        param for param in command.params if isinstance(param, click.Option) and param.name != "config"
    ]
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    return {str(param.name).replace("_", "-"): param for param in arguments} | {
        name[2:]: param
        for param in options
        for name in (*param.opts, *param.secondary_opts)
        if name.startswith("--")
    }


def _value(key: str, item: Any, parameter: click.Parameter) -> Any:
    """Turn the value under `key` into what the command line would have given."""
    if isinstance(parameter, click.Option):
        if f"--{key}" in parameter.secondary_opts and isinstance(item, bool):
            return not item
        if parameter.multiple and not isinstance(item, list):
            return [item]
    return item


CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    help="TOML file with options of this command (keys as the long options); flags win.",
)


ALLOW_OUTSIDE = click.option(
    "--allow-outside", is_flag=True, help="Follow paths that lead out of their folder; for files you trust."
)


def ROOT(command: _Command) -> _Command:
    """Add what says where a manifest's images may stand."""
    root = click.option(
        "--root", type=click.Path(path_type=Path), help="Folder that image paths are relative to and stay in."
    )
    return root(ALLOW_OUTSIDE(command))


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


STOOD = "this file stood there already, with the same content"


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
    """Make an `--output` option."""
    return click.option(
        "--output", "-o", type=click.Path(path_type=Path), default=Path(default), show_default=True, help=text
    )


def print_json(value: Any) -> None:
    """Print JSON types on stdout."""
    click.echo(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False))


def print_table(rows: Iterable[Sequence[str]]) -> None:
    """Print rows on stdout, columns aligned."""
    table = list(rows)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
