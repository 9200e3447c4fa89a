"""What the documents name exists."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

import click
import pytest

import featx as package
from featx import stats
from featx_cli.main import featx

ROOT = Path(__file__).resolve().parents[1]
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


def test_every_public_function_has_an_example_that_is_executed():
    executed = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "examples").glob("*.py"))
    without = [
        f"{module.__name__}.{name}"
        for module in (package, stats)
        for name in module.__all__
        if inspect.isroutine(what := getattr(module, name))
        and ">>>" not in (what.__doc__ or "")
        and f"featx.{name}(" not in executed
    ]
    assert without == []
