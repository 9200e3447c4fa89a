"""The summary of a command that `--summary` writes, in Markdown."""

from __future__ import annotations

import platform
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from featx import __version__
from featx.batch_log import Reading, duration_text, rate_text

__all__ = ["ENDS", "JobFacts", "markdown", "shown_command"]

# Exit code to what it means.
ENDS = {
    0: "done",
    1: "failed",
    2: "bad input",
    129: "interrupted by SIGHUP",
    130: "interrupted",
    143: "interrupted by SIGTERM",
}
_MOST_LINES = 100
_LOGIN = re.compile(r"(\w+://)[^/\s@]*@")
_QUERY = re.compile(r"(\w+://[^\s?#'\"`]*)\?[^\s'\"`]*")


@dataclass(frozen=True)
class JobFacts:
    """What is told of a command: its line, times, exit code and error, tasks, messages, and paths of results."""

    verb: str
    command: str
    started: datetime
    seconds: float
    code: int
    error: str
    memory: int
    tasks: tuple[Reading, ...]
    outcome: tuple[str, ...]
    warnings: tuple[str, ...]
    results: tuple[str, ...]


def shown_command(arguments: Sequence[str]) -> str:
    """Write a command line without what may be secret: the command of --notify, and logins and queries of URLs.

    Examples
    --------
    >>> shown_command(["extract", "a b.csv", "--notify", "curl -u me:secret example.org"])
    "featx extract 'a b.csv' --notify ..."
    """
    shown: list[str] = []
    for argument in arguments:
        if shown[-1:] == ["--notify"]:
            shown.append("...")
        elif argument.startswith("--notify="):
            shown.append("--notify=...")
        else:
            shown.append(argument)
    return _without_logins(shlex.join(["featx", *shown]))


def _without_logins(text: str) -> str:
    return _QUERY.sub(r"\1?...", _LOGIN.sub(r"\1...@", text))


def markdown(facts: JobFacts) -> str:
    """Write the summary."""
    end = ENDS.get(facts.code, ENDS[1])
    lines = [
        f"# featx {facts.verb}: {end}",
        "",
        *([f"**Error:** {_plain(facts.error)}", ""] if facts.error else []),
        f"- Command: {_code(facts.command)}",
        f"- Folder: {_code(str(Path.cwd()))}",
        f"- Host: {platform.node()}, featx {__version__}",
        f"- Started: {facts.started.isoformat(sep=' ', timespec='seconds').replace('+00:00', ' UTC')}",
        f"- Duration: {duration_text(facts.seconds)}",
        f"- Exit code: {facts.code} ({end})",
        f"- Peak memory: {facts.memory / 1e9:.2f} GB",
        *_section("Work", _table(facts.tasks)),
        *_section("Outcome", _items(_plain(line) for line in facts.outcome)),
        *_section("Warnings", _items(_plain(line) for line in facts.warnings)),
        *_section("Results", _items(_code(place) for place in facts.results)),
    ]
    # Names of files may hold bytes that are not UTF-8.
    text = "\n".join(lines).encode("utf-8", "backslashreplace").decode("utf-8")
    return f"{_without_logins(text)}\n"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *lines] if lines else []


def _items(lines: Iterable[str]) -> list[str]:
    items = [f"- {line}" for line in lines]
    more = len(items) - _MOST_LINES
    return [*items[:_MOST_LINES], f"- and {more} more"] if more > 0 else items


def _table(tasks: Sequence[Reading]) -> list[str]:
    """Give each task a row, with a column for each stage that any of them has."""
    if not tasks:
        return []
    stages = list(dict.fromkeys(stage for task in tasks for stage in task.busy))
    head = ["task", "done", "time", "rate", *(f"{stage} busy" for stage in stages)]
    rows = [
        [
            _plain(task.task),
            f"{task.done:,} of {task.total:,} {task.unit}",
            duration_text(task.seconds),
            rate_text(task.rate, task.unit) if task.done else "",
            *(f"{100 * task.busy[stage]:.0f} %" if stage in task.busy else "" for stage in stages),
        ]
        for task in tasks
    ]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _plain(text: str) -> str:
    """Keep Markdown from reading the characters of a text as its own."""
    return re.sub(r"([\\`*_<>\[\]|])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"
