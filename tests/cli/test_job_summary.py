from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from featx.batch_log import Reading
from featx_cli.job_summary import JobFacts, markdown, shown_command

FACTS = JobFacts(
    verb="extract",
    command="featx extract lesions.csv",
    started=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    seconds=95.2,
    code=0,
    error="",
    memory=2_100_000_000,
    tasks=(
        Reading("hash", 100, 100, "files", 0.5, 200.0, 200.0),
        Reading("extracting", 900, 1200, "images", 90.0, 10.0, 8.0, {}, {"decode": 0.45, "write": 0.031}),
    ),
    outcome=("tiny: 900 computed",),
    warnings=("no groups",),
    results=("/cache/features/tiny",),
)


def test_everything_is_there_in_its_section() -> None:
    head, *sections = markdown(FACTS).split("\n## ")
    lines = head.splitlines()
    assert lines[0] == "# featx extract: done"
    assert "- Command: `featx extract lesions.csv`" in lines
    assert f"- Folder: `{Path.cwd()}`" in lines
    assert "- Started: 2026-01-02 03:04:05 UTC" in lines
    assert "- Duration: 1 min 35 s" in lines
    assert "- Exit code: 0 (done)" in lines
    assert "- Peak memory: 2.10 GB" in lines
    assert not any(line.startswith("**Error") for line in lines)
    assert sections == [
        "Work\n\n"
        "| task | done | time | rate | decode busy | write busy |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| hash | 100 of 100 files | 0 s | 200 files/s |  |  |\n"
        "| extracting | 900 of 1,200 images | 1 min 30 s | 10.0 images/s | 45 % | 3 % |\n",
        "Outcome\n\n- tiny: 900 computed\n",
        "Warnings\n\n- no groups\n",
        "Results\n\n- `/cache/features/tiny`\n",
    ]


@pytest.mark.parametrize(
    ("code", "word"),
    [(1, "failed"), (2, "bad input"), (130, "interrupted"), (143, "interrupted by SIGTERM"), (7, "failed")],
)
def test_an_error_is_named_first(code: int, word: str) -> None:
    text = markdown(replace(FACTS, code=code, error="a|b `c` *d*\n<script>"))
    assert text.startswith(f"# featx extract: {word}\n\n**Error:** a\\|b \\`c\\` \\*d\\* \\<script\\>\n")
    assert f"- Exit code: {code} ({word})" in text


def test_sections_without_lines_are_left_out() -> None:
    text = markdown(replace(FACTS, tasks=(), outcome=(), warnings=(), results=()))
    assert "##" not in text


def test_a_long_list_is_cut() -> None:
    text = markdown(replace(FACTS, warnings=tuple(f"w{number}" for number in range(130))))
    assert "- w99\n- and 30 more\n" in text
    assert "w100" not in text


def test_a_name_with_a_backtick_stays_code() -> None:
    assert "- `` /cache/a`b ``" in markdown(replace(FACTS, results=("/cache/a`b",)))


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["extract", "a b.csv"], "featx extract 'a b.csv'"),
        (["--notify", "curl -u me:hush x", "-j", "2"], "featx --notify ... -j 2"),
        (["--notify=curl hush", "--arm", "a"], "featx --notify=... --arm a"),
        (["-w", "https://me:hush@host/w.h5"], "featx -w https://...@host/w.h5"),
        (["-w", "https://host/w.h5?token=hush&x=1", "a"], "featx -w 'https://host/w.h5?...' a"),
    ],
)
def test_secrets_are_not_shown(arguments: list[str], shown: str) -> None:
    assert shown_command(arguments) == shown


def test_logins_in_messages_are_not_shown_either() -> None:
    text = markdown(replace(FACTS, code=1, error="https://me:hush@host/w.h5?key=hush: cannot be read"))
    assert "hush" not in text
