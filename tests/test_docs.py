"""What the documents name exists."""

from __future__ import annotations

import importlib
import inspect
import re
import shlex
import tomllib
from collections.abc import Iterable
from pathlib import Path

import click
import pytest

import featx as package
from featx_cli.main import featx

ROOT = Path(__file__).resolve().parents[1]
PYTHON_API = tomllib.loads((ROOT / "docs" / "python_api.toml").read_text(encoding="utf-8"))
FOR_OTHER_ROOMS = PYTHON_API["for_other_rooms"]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(document):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), f"{document.name}: {target}"


def commands() -> list[str]:
    """List every `featx ...` line of the documents' console blocks, continued lines joined."""
    lines = []
    for document in DOCUMENTS:
        for block in re.findall(r"```console\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL):
            joined = re.sub(r"\\\n\s*", "", block)
            lines += re.findall(r"^\s*\$ (featx [^\n#>|]*)", joined, re.MULTILINE)
    return sorted(set(lines))


@pytest.mark.parametrize("line", commands())
def test_every_command_shown_is_one_that_featx_takes(line):
    words = shlex.split(line.replace("$(", "").replace(")", ""))[1:]
    command: click.Command = featx
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None, line
        command = found
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | {
        "-h",
        "--help",
    }
    assert {word.split("=")[0] for word in words if word.startswith("-")} <= known


def test_every_file_is_in_the_list_of_modules():
    text = (ROOT / "docs" / "modules.md").read_text(encoding="utf-8")
    modules = [path for room in ("featx", "cli") for path in (ROOT / room).rglob("*.py")]
    assert [path.name for path in modules if f"`{path.relative_to(ROOT).as_posix()}`" not in text] == []


def test_every_page_is_in_a_table_of_contents():
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
    listed = {
        line.strip()
        for text in pages.values()
        for block in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    }
    assert set(pages) - listed == {"index"}


def documented() -> dict[str, object]:
    """Map every name of the page of the Python API to what it is."""
    found = {f"featx.{name}": getattr(package, name) for name in package.__all__}
    for room in PYTHON_API["rooms"]:
        face = importlib.import_module(f"featx.{room}")
        known = {*package.__all__, *FOR_OTHER_ROOMS.get(room, ())}
        found |= {f"featx.{room}.{name}": getattr(face, name) for name in face.__all__ if name not in known}
    return {name: what for name, what in found.items() if callable(what)}


def test_every_public_name_has_an_example_that_is_executed():
    """A docstring has one, or a script of the gallery calls the function; a class may be what such a function returns, or a part of it."""
    gallery = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "examples").glob("*.py"))
    names = documented()
    shown = {
        name
        for name, what in names.items()
        if ">>>" in (what.__doc__ or "") or re.search(rf"\b{name.rpartition('.')[2]}\(", gallery)
    }
    returned = [
        inspect.signature(names[name]).return_annotation for name in shown if inspect.isroutine(names[name])
    ]
    classes = {name for name, what in names.items() if inspect.isclass(what)}
    shown |= {name for name in classes if named(name, map(str, returned))}
    attributes = [
        line
        for name in shown & classes
        for line in (names[name].__doc__ or "").splitlines()
        if re.match(r" +[\w, ]+ : ", line)
    ]
    assert sorted(set(names) - shown - {name for name in classes if named(name, attributes)}) == []


def named(name: str, texts: Iterable[str]) -> bool:
    """Tell whether a class is named in any of some texts."""
    return any(re.search(rf"\b{name.rpartition('.')[2]}\b", text) for text in texts)


def test_names_for_other_rooms_are_on_their_face_and_nowhere_else():
    for room, names in FOR_OTHER_ROOMS.items():
        face = importlib.import_module(f"featx.{room}")
        assert set(names) <= set(face.__all__), room
        assert not set(names) & set(package.__all__), room
