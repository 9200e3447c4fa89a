"""Digests: SHA-256 of the canonical JSON of a value.

Two values have the same digest if and only if they are equal as data, on every machine and Python version.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["canonical", "canonical_json", "differing", "digest", "digest_bytes", "digest_file", "short"]

_READ_BYTES = 1 << 20


def canonical(value: Any) -> Any:
    """Reduce a value to JSON types, with one form for each value: sets are sorted, dataclasses become mappings.

    Examples
    --------
    >>> canonical((1, {"b": 2, "a": {3}}))
    [1, {'a': [3], 'b': 2}]
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return canonical({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        return {str(key): canonical(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, set | frozenset):
        return sorted(canonical(item) for item in value)
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"a digest needs finite numbers, got {value!r}")
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Sequence):
        return [canonical(item) for item in value]
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return canonical(value.item())
    if hasattr(value, "tolist"):
        return canonical(value.tolist())
    raise TypeError(f"no canonical form for {type(value).__name__}: {value!r}")


def canonical_json(value: Any) -> str:
    """Write a value as ASCII JSON with sorted keys and no spaces.

    Examples
    --------
    >>> canonical_json({"b": 1.5, "a": None})
    '{"a":null,"b":1.5}'
    """
    return json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON, 64 hexadecimal digits.

    Examples
    --------
    >>> digest({"a": 1}) == digest({"a": 1})
    True
    """
    return digest_bytes(canonical_json(value).encode())


def digest_bytes(data: bytes) -> str:
    """Return the SHA-256 of bytes, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits."""
    state = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_READ_BYTES):
            state.update(block)
    return state.hexdigest()


def short(hexadecimal: str) -> str:
    """Shorten a digest to its first eight digits, for a folder's name."""
    return hexadecimal[:8]


def differing(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Name the fields in which two records differ, each with both values.

    Examples
    --------
    >>> differing({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
    ['b.c: found 3, wanted 2']
    """
    lines = []
    for key in sorted({*wanted, *found}, key=str):
        want, got = wanted.get(key), found.get(key)
        if isinstance(want, Mapping) and isinstance(got, Mapping):
            lines += [f"{key}.{line}" for line in differing(want, got)]
        elif canonical(want) != canonical(got):
            lines.append(f"{key}: found {canonical(got)!r}, wanted {canonical(want)!r}")
    return lines
