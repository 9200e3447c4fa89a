"""Documents that anyone may have written are parsed within bounds."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.documents import DEPTH, parse_json, parse_toml, parse_yaml, read_text

_LAUGHS = "\n".join(
    ["a: &a [x, x, x, x, x, x, x, x, x]"]
    + [
        f"{new}: &{new} [{', '.join(['*' + old] * 9)}]"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    ]
)
_TEXT = st.text("ab\u00e9 1:-[{'\"#*&", max_size=5)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=20,
)

BOMBS = {
    "json": [
        ("[" * 200_000, "nested more than 32"),
        ('{"a":' * 50_000 + "1" + "}" * 50_000, "nested more than"),
    ],
    "toml": [
        (".".join(["a"] * 120_000) + " = 1", "more than 32 parts"),
        ("[" + ' . "b"' * 40_000 + "]", "more than 32 parts"),
        ("a = " + "[" * 200_000, "nested more than 32"),
        ("a = " + "{a=" * 80_000, "nested more than 32"),
    ],
    "yaml": [
        (_LAUGHS, "line 2 has the alias"),
        ("- " * 100_000, "nested more than 32"),
        ("{a: " * 60_000, "neste|nesting"),
        ("? " * 100_000, "nested more than 32"),
        ("1:" * 100_000 + "1", "line 1 has a value of 200,001 characters; quote it"),
    ],
}
PARSERS = {"json": parse_json, "toml": parse_toml, "yaml": parse_yaml}


def _ten_seconds() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (10, 10))


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused(kind: str, tmp_path: Path) -> None:
    """In a process that may take ten seconds and a gigabyte: each took minutes, gigabytes or all of the stack."""
    code = (
        "import json, resource, sys; resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\n"
        f"from featx.documents import parse_{kind} as parse\n"
        "for text in json.load(open(sys.argv[1])):\n"
        "    try: parse(text); print('parsed')\n"
        "    except ValueError as error: print(error)\n"
    )
    (tmp_path / "bombs.json").write_text(json.dumps([text for text, _ in BOMBS[kind]]))
    command = [sys.executable, "-c", code, str(tmp_path / "bombs.json")]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=_ten_seconds, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    said = done.stdout.splitlines()
    for (_, wanted), line in zip(BOMBS[kind], said, strict=True):
        with pytest.raises(ValueError, match=wanted):
            raise ValueError(line)


@given(_JSON)
def test_sound_documents_are_parsed_as_they_are(value: object) -> None:
    assert parse_json(json.dumps(value)) == value
    assert parse_yaml(json.dumps(value, ensure_ascii=True)) == value


@pytest.mark.parametrize(
    "text", ['a = "1.2.3"', "a = '''x.y'''", 'a = """\n' + "a." * 99 + '\n"""', "# " + "a." * 99, "a = 1.5"]
)
def test_dots_in_texts_and_comments_do_not_count(text: str) -> None:
    parse_toml(text + "\n")


def test_the_deepest_that_is_read() -> None:
    assert parse_json("[" * DEPTH + "]" * DEPTH)
    with pytest.raises(ValueError, match="nested more than"):
        parse_json("[" * (DEPTH + 1) + "]" * (DEPTH + 1))


@pytest.mark.parametrize(
    "text", ["!!timestamp x", "!!int ''", "!!bool x", "? [a]\n: b", "\0", "a: 2001-99-99", "--- a\n--- b"]
)
def test_yaml_of_no_sense_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"not YAML|month"):
        parse_yaml(text)


def test_text_of_regular_files_of_some_size_only(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbfa = 1")
    assert read_text(tmp_path / "a.toml") == "a = 1"
    with pytest.raises(OSError, match="it has 8 bytes, more than the 5 that are read"):
        read_text(tmp_path / "a.toml", 5)
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(OSError, match="a named pipe"):
        read_text(tmp_path / "pipe.toml")
