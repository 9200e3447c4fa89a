"""Mutations: of bytes, whatever they mean, and of what files of a kind are made of."""

from __future__ import annotations

import io
import json
import pickletools
import random
import zipfile
from collections.abc import Callable
from typing import Any

# What has broken parsers before.
_TOKENS = [
    b"\0", b"\r", b"\n\n", b'"', b"'", b",,", b";", b"\t", b"[" * 5000, b"{" * 5000, b"a." * 3000, b"- " * 3000, b"*a", b"&a [*a, *a]",
    b"<<: *a", b"!!python/object/apply:os.system ['true']", b"!!int x", b"\xff\xfe", b"\xed\xa0\x80", "\u202e".encode(), b"1e999",
    b"-1", b"nan", b"9" * 400, b"9" * 5000, b"0x", b"null", b"true", b"[[]]", b"..", b"/etc/passwd", b"=1+1", b"[a.b.c]\n", b"x = {}\n", b"2020-13-45",
    b"cposix\nsystem\n", b"(S'true'\ntR.", b"\x80\x05", b"inf",
]  # fmt: skip
_NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1]  # fmt: skip
_VALUES: list[Any] = [
    None, True, 0, -1, 1, 3.5, 1e308, float("nan"), float("inf"), 10**30, "", "x", "\0", "..", "é\ud7ff", "x" * 10_000, [], {}, [[]], [None], [0, 1], {"": 0},
    {"x": {"y": []}}, "2020-01-01", "melanoma:rest", "random", "5x2", "-1", "1e5",
]  # fmt: skip


def mutated(data: bytes, other: bytes, ending: str, rng: random.Random) -> bytes:
    """Change a file.

    Parameters
    ----------
    data : bytes
        The file.
    other : bytes
        Another file of the kind, to take parts of.
    ending : str
        Its kind.
    rng : random.Random
        Decides everything.

    Returns
    -------
    bytes
        The changed file.
    """
    structured = _STRUCTURED.get(ending)
    if structured is not None and rng.random() < 0.5:
        try:
            data = structured(data, rng)
        except Exception:  # no longer of the kind
            data = _bytes(data, other, rng)
        if rng.random() < 0.7:
            return data
    for _ in range(rng.choice([1, 1, 1, 2, 4, 8])):
        data = _bytes(data, other, rng)
    return data[: 1 << 20]


def _bytes(data: bytes, other: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    length = min(rng.choice([1, 1, 2, 4, 8, 64, 1024]), len(data) - place)
    kind = rng.randrange(9)
    if kind == 0 and place < len(data):
        return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
    if kind == 1 and place < len(data):
        return data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]
    if kind == 2:
        return data[:place] + data[place + length :]
    if kind == 3:
        return data[:place] + data[place : place + length] * rng.choice([2, 3, 100]) + data[place + length :]
    if kind == 4:
        return data[:place] + rng.choice(_TOKENS) + data[place + rng.choice([0, length]) :]
    if kind == 5:
        size = rng.choice([1, 2, 4, 8])
        number = (rng.choice(_NUMBERS) % (1 << 8 * size)).to_bytes(size, rng.choice(["little", "big"]))  # type: ignore[arg-type]
        return data[:place] + number + data[place + size :]
    if kind == 6:
        return data[:place] + other[rng.randrange(len(other) + 1) :]
    if kind == 7:
        return data[:place]
    start = rng.randrange(len(data) + 1)
    return data[:place] + data[start : start + length] + data[place:]


def _json(data: bytes, rng: random.Random) -> bytes:
    import yaml

    return json.dumps(_changed(yaml.safe_load(data), rng)).encode("utf-8", "surrogatepass")


def _toml(data: bytes, rng: random.Random) -> bytes:
    import tomllib

    value = _changed(tomllib.loads(data.decode()), rng)
    return "\n".join(_toml_lines(value, "")).encode()


def _toml_lines(table: dict[str, Any], head: str) -> list[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    lines = [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, dict):
            name = f"{head}{json.dumps(key)}"
            lines += [f"[{name}]", *_toml_lines(value, f"{name}.")]
    return lines


def _changed(value: Any, rng: random.Random) -> Any:
    """Change one or several nodes of a tree."""
    for _ in range(rng.choice([1, 1, 2, 4])):
        value = _changed_once(value, rng)
    return value


def _changed_once(value: Any, rng: random.Random) -> Any:
    if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
        return rng.choice(_VALUES)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key, kind = rng.choice(keys), rng.randrange(6)
    made: Any = value.copy()
    if kind == 0:
        del made[key]
    elif kind == 1 and isinstance(made, dict):
        made[str(rng.choice(_VALUES))] = made.pop(key)
    elif kind == 2:
        other = made[rng.choice(keys)]
        made[key] = [other, other] if rng.random() < 0.5 else other
    elif kind == 3:
        made[key] = {"x": made[key]}
    else:
        made[key] = _changed_once(made[key], rng)
    return made


def _csv(data: bytes, rng: random.Random) -> bytes:
    rows = [line.split(b",") for line in data.split(b"\n")]
    for _ in range(rng.choice([1, 2, 4])):
        row = rng.choice(rows)
        place = rng.randrange(len(row))
        kind = rng.randrange(5)
        if kind == 0:
            row[place] = rng.choice(
                [rng.choice(_TOKENS), str(rng.choice(_VALUES)).encode("utf-8", "replace")]
            )
        elif kind == 1:
            rows.insert(rng.randrange(len(rows)), list(rng.choice(rows)))
        elif kind == 2:
            row.insert(place, rng.choice(rng.choice(rows)))
        elif kind == 3:
            row[place] = rng.choice(rng.choice(rows))
        elif len(row) > 1:
            del row[place]
    return b"\n".join(b",".join(row) for row in rows)


def _torch(data: bytes, rng: random.Random) -> bytes:
    """Change the pickle in a PyTorch file, operation by operation, or the archive's members."""
    if not data.startswith(b"PK"):
        return data[:15] + _pickle(data[15:], rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    place = next(place for place, (name, _) in enumerate(members) if name.endswith("data.pkl"))
    if rng.random() < 0.8:
        members[place] = (members[place][0], _pickle(members[place][1], rng))
    else:
        one = rng.randrange(len(members))
        name, content = members[one]
        members[one] = rng.choice(
            [(name + "/data.pkl", content), (name, content[:-1]), (name, content * 2), (name, b"")]
        )
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return made.getvalue()


def _pickle(data: bytes, rng: random.Random) -> bytes:
    places = [place for _, _, place in pickletools.genops(data) if place is not None]
    end = data.index(b".", places[-1]) + 1
    pieces = [data[a:b] for a, b in zip(places, [*places[1:], end], strict=True)]
    for _ in range(rng.choice([1, 1, 2, 3])):
        place, kind = rng.randrange(len(pieces)), rng.randrange(5)
        if kind == 0:
            del pieces[place]
        elif kind == 1:
            pieces.insert(place, rng.choice(pieces))
        elif kind == 2:
            pieces[place] = rng.choice(pieces)
        elif kind == 3:
            number = rng.choice(_NUMBERS)
            pieces[place] = (
                b"\x8a\x09" + number.to_bytes(9, "little") if rng.random() < 0.7 else b"J\xff\xff\xff\xff"
            )
        else:
            pieces[place] = rng.choice([b"N", b"]", b"}", b")", b"K\x00", b"M\xff\xff", b"cos\nsystem\n", b"ctorch\nFloatStorage\n", b"R", b"\x81", b"Q", b"t", b"(", b"X\x01\x00\x00\x000"])  # fmt: skip
        if not pieces:
            return b"."
    return b"".join(pieces) + data[end:]


def _safetensors(data: bytes, rng: random.Random) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(_changed(json.loads(data[8 : 8 + length]), rng)).encode()
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


_STRUCTURED: dict[str, Callable[[bytes, random.Random], bytes]] = {
    ".json": _json,
    ".yml": _json,
    ".yaml": _json,
    ".toml": _toml,
    ".csv": _csv,
    ".pth": _torch,
    ".safetensors": _safetensors,
}
