"""Flags of the command line, made from the options of the verbs, and the keys of configuration files."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from featx.documents import parse_toml, read_text
from featx.errors import ConfigError, listing
from featx.features import ExtractSettings
from featx.options import FoldOptions, ImageOptions, Option, Options, option_of

_Command = TypeVar("_Command", bound=Callable[..., Any])


_Settings = TypeVar("_Settings", bound=Options)

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
    help="TOML file with options of this command: keys are the long option names. Options on the command line take "
    "precedence.",
)


class Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers joined by commas, or a list of a configuration file."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text, or a list, into numbers."""
        try:
            return tuple(float(number) for number in (value.split(",") if isinstance(value, str) else value))
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not a list of numbers separated by commas, such as 1,3", param, ctx)


class ChoiceWithRemoved(click.Choice[str]):
    """One of some texts; a text that an earlier version allowed has a message of its own."""

    def __init__(self, option: Option) -> None:
        super().__init__(option.values)
        self._removed = option.removed

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the text if it is allowed."""
        if value in self._removed:
            self.fail(self._removed[value], param, ctx)
        return super().convert(value, param, ctx)


def of(
    kind: type[Options], *, only: Collection[str] = (), leave: Collection[str] = (), defaults: bool = False
) -> Callable[[_Command], _Command]:
    """Make a decorator that gives a command a flag for each option of a verb.

    A flag that is not given has the value None, or () if it can be repeated, unless `defaults` asks for the option's
    default: the library knows its defaults and presets. `given` leaves such values out.
    """
    wanted = [
        item
        for item in dataclasses.fields(kind)
        if option_of(item).command and item.name not in leave and (not only or item.name in only)
    ]
    # What has a short form is used most, and comes first in the help.
    wanted.sort(key=lambda item: not option_of(item).short)

    def decorate(command: _Command) -> _Command:
        for item in reversed(wanted):
            command = _flag(item, defaults)(command)
        return command

    return decorate


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given on the command line or in the configuration file."""
    return {name: value for name, value in values.items() if value is not None and value != ()}


def parted(values: Mapping[str, Any], kind: type[_Settings]) -> tuple[dict[str, Any], _Settings]:
    """Part the options that were given into those of another class than this one, and an instance of this one."""
    names = {item.name for item in dataclasses.fields(kind)}
    found = given(values)
    return (
        {name: value for name, value in found.items() if name not in names},
        kind.make({name: value for name, value in found.items() if name in names}),
    )


def _flag(item: dataclasses.Field[Any], defaults: bool) -> Callable[[_Command], _Command]:
    option = option_of(item)
    long = f"--{option.flag or item.name.replace('_', '-')}"
    required = item.default is dataclasses.MISSING
    more: dict[str, Any] = {"default": None if required or not defaults else item.default}
    if option.kind is bool:
        if item.default is not False or option.off:
            long += f"/--{option.off or 'no-' + long[2:]}"
        more["is_flag"] = True
    else:
        more["type"] = _type(option)
        more["multiple"] = option.many and not option.joined and " " not in option.metavar
        more["nargs"] = len(option.metavar.split()) if " " in option.metavar else 1
    names = [name for name in (option.short, long, item.name) if name]
    return click.option(
        *names,
        required=required,
        metavar=option.metavar or None,
        envvar=option.environment or None,
        help=_help(item, option, long),
        **more,
    )


def _type(option: Option) -> click.ParamType[Any]:
    low, high = (bound if math.isfinite(bound) else None for bound in (option.low, option.high))
    if option.joined:
        return Numbers()
    if option.values:
        return ChoiceWithRemoved(option) if option.removed else click.Choice(option.values)
    if option.kind is int:
        return click.IntRange(None if low is None else int(low), None if high is None else int(high))
    if option.kind is float:
        return click.FloatRange(low, high, min_open=option.open, max_open=option.open)
    return click.Path(path_type=Path) if option.kind is Path else click.STRING


def _help(item: dataclasses.Field[Any], option: Option, long: str) -> str:
    """Give the help of an option with its default, as click writes defaults."""
    default = option.default_text
    if not default and not any(item.default is none for none in (dataclasses.MISSING, None, (), False)):
        default = _shown(item.default, long)
    notes = [f"environment: {option.environment}"] if option.environment else []
    notes += [f"default: {default}"] if default else []
    return f"{option.help}  [{'; '.join(notes)}]" if notes else option.help


def _shown(value: Any, long: str) -> str:
    if value is True:
        return long.partition("/")[0][2:]
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value)


def example(line: str) -> str:
    """Make the end of a command's help: a line that runs as it is."""
    return f"\b\nExample:\n  {line}"


ALLOW_OUTSIDE = of(ImageOptions, only=["allow_outside"], defaults=True)
ROOT = of(ImageOptions, only=["root", "allow_outside"], defaults=True)
CACHE = of(ImageOptions, only=["cache"], defaults=True)
WORKERS = of(ImageOptions, only=["workers"], defaults=True)
OVERWRITE = of(ImageOptions, only=["overwrite"], defaults=True)
TASK = of(FoldOptions, only=["task"], defaults=True)
STRICT_LABELS = of(FoldOptions, only=["strict_labels"], defaults=True)
PROTOCOL = of(FoldOptions, only=["protocol"], defaults=True)
SEED = of(FoldOptions, only=["seed"], defaults=True)
STOOD = "the file was there already, with the same content"
DRY_RUN = of(ExtractSettings, only=["dry_run"], defaults=True)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")


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
