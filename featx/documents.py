"""JSON, TOML and YAML from untrusted files, parsed within bounds of time and memory.

Refused are values nested deeper than `DEPTH`, dotted TOML keys of more parts than that, and aliases in YAML, by which
a few lines grow to billions of values.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from featx.files import read_regular

__all__ = ["DEPTH", "TEXT_LIMIT", "parse_json", "parse_toml", "parse_yaml", "read_text"]

DEPTH = 32
"""Levels that values may be nested; what featx reads needs five."""
TEXT_LIMIT = 2**18
"""Bytes of a file that a person writes: a study, a task, a recipe, options. The longest that is shipped has 2 kB."""

# Characters of a scalar that YAML may take for a number: to base 60, its time grows with their square.
_NUMBER_LIMIT = 1000
# Strings and comments, closed or not, in which a dot means nothing.
_QUOTED = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""|\Z)|\'\'\'.*?(?:\'\'\'|\Z)|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*', re.DOTALL
)
_DOTTED = re.compile(r"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){32}")


def read_text(path: Path | str, limit: int = TEXT_LIMIT) -> str:
    """Read a text file as UTF-8, without its byte-order mark."""
    return read_regular(path, limit).decode("utf-8-sig")


def parse_json(text: str | bytes) -> Any:
    """Parse JSON."""
    try:
        return _shallow(json.loads(text))
    except RecursionError:
        raise _too_deep() from None


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML."""
    # Before parsing: its time grows with the square of a key's parts.
    if _DOTTED.search(_QUOTED.sub("x", text)):
        raise ValueError(f"a dotted key has more than {DEPTH} parts")
    try:
        table: dict[str, Any] = _shallow(tomllib.loads(text.replace("\r\n", "\n")))
    except RecursionError:
        raise _too_deep() from None
    return table


def parse_yaml(text: str, *, plain: bool = False) -> Any:
    """Parse one YAML document without aliases; with `plain`, every scalar stays text.

    Examples
    --------
    >>> parse_yaml("a: [1, no]"), parse_yaml("a: [1, no]", plain=True)
    ({'a': [1, False]}, {'a': ['1', 'no']})
    """
    import yaml

    name = "BaseLoader" if plain else "SafeLoader"
    loader = getattr(yaml, f"C{name}", getattr(yaml, name))
    try:
        _check_events(text, loader, plain)
        return yaml.load(text, Loader=loader)
    except RecursionError:
        raise _too_deep() from None
    # What a tag makes of a text that does not fit it is of no fixed type.
    except (yaml.YAMLError, AttributeError, LookupError, TypeError, OverflowError) as error:
        raise ValueError(f"not YAML: {' '.join(str(error).split())}") from error


def _check_events(text: str, loader: Any, plain: bool) -> None:
    """Walk through a document without building it: the builder calls itself for each level, and copies aliases."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise _too_deep()
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"{_line(event)} has the alias *{event.anchor}; write out its value")
        if isinstance(event, yaml.ScalarEvent) and not plain and event.implicit != (False, True):
            _check_length(event)


def _check_length(scalar: Any) -> None:
    if len(scalar.value) > _NUMBER_LIMIT:
        raise ValueError(f"{_line(scalar)} has a value of {len(scalar.value):,} characters; quote it")


def _line(event: Any) -> str:
    return f"line {event.start_mark.line + 1}"


def _shallow(value: Any) -> Any:
    level = [value]
    for _ in range(DEPTH):
        level = [item for outer in level if isinstance(outer, dict | list) for item in _items(outer)]
        if not level:
            return value
    raise _too_deep()


def _items(outer: dict[str, Any] | list[Any]) -> list[Any]:
    inner = outer.values() if isinstance(outer, dict) else outer
    return [item for item in inner if isinstance(item, dict | list)]


def _too_deep() -> ValueError:
    return ValueError(f"its values are nested more than {DEPTH} levels deep")
