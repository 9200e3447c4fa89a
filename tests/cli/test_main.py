"""The command line as a whole: help, exit codes, one-line errors, light imports."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

import featx_cli.main as command_line
from featx.errors import ConfigError, ExtractionError
from featx_cli.main import COMMANDS, run

HEAVY = ("keras", "tensorflow", "sklearn", "matplotlib", "pandas", "scipy")


def subcommands() -> list[list[str]]:
    import click

    lines: list[list[str]] = [[]]
    for name in sorted(COMMANDS):
        command = command_line.featx.get_command(click.Context(command_line.featx), name)
        lines.append([name])
        if isinstance(command, click.Group):
            lines += [[name, inner] for inner in sorted(command.commands)]
    return lines


def test_no_help_imports_a_heavy_library():
    # One process for all: what one help imports, the next would only find there.
    code = f"""
import json, sys
from featx_cli.main import run
codes = [run([*line, "--help"]) for line in {subcommands()!r}]
heavy = [name for name in {HEAVY!r} if name in sys.modules]
print(json.dumps([codes, heavy]), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    codes, heavy = json.loads(done.stderr)
    assert set(codes) == {0}
    assert heavy == []


@pytest.mark.parametrize("line", subcommands(), ids=lambda line: " ".join(line) or "featx")
def test_every_command_has_both_helps_and_says_what_it_does(line):
    runner = CliRunner()
    short, long = (runner.invoke(command_line.featx, [*line, flag]) for flag in ("-h", "--help"))
    assert short.exit_code == long.exit_code == 0
    assert short.output == long.output
    assert len(long.output.splitlines()[2].strip()) > 10


def test_an_unknown_command_and_option_are_bad_input(capsys):
    assert run(["extrct"]) == 2
    assert "No such command 'extrct'" in capsys.readouterr().err
    assert run(["report", "--no-such-option"]) == 2


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ConfigError("bad\nvalue"), 2, "featx: error: bad value\n"),
        (ExtractionError("3 images failed"), 1, "featx: error: 3 images failed\n"),
        (ValueError("odd"), 1, "featx: error: ValueError: odd (--debug shows where)\n"),
    ],
)
def test_errors_are_one_line_with_their_exit_code(monkeypatch, capsys, error, code, text):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(command_line.featx, "main", fail)
    assert run(["report"]) == code
    assert capsys.readouterr().err == text


def test_debug_shows_the_traceback_wherever_it_stands(monkeypatch, capsys):
    def fail(arguments, **_):
        assert arguments == ["report"]
        raise ConfigError("bad value")

    monkeypatch.setattr(command_line.featx, "main", fail)
    assert run(["report", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_ends_with_130_and_says_that_it_can_go_on(monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line.featx, "main", stop)
    assert run(["report"]) == 130
    assert "the same command resumes" in capsys.readouterr().err


def test_a_configuration_file_gives_defaults_and_flags_win(tmp_path, monkeypatch):
    seen = {}
    import click

    from featx_cli import flags

    @click.command()
    @flags.CONFIG
    @flags.SEED
    @flags.TASK
    def probe(seed, task):
        seen.update(seed=seed, task=task)

    config = tmp_path / "featx.toml"
    config.write_text('seed = 3\ntask = "melanoma:rest"\n')
    CliRunner().invoke(probe, ["--config", str(config), "--seed", "5"], catch_exceptions=False)
    assert seen == {"seed": 5, "task": "melanoma:rest"}
    config.write_text("[probe]\nsede = 3\n")
    with pytest.raises(ConfigError, match=r"unknown key sede; known: .*seed"):
        CliRunner().invoke(probe, ["--config", str(config)], catch_exceptions=False)
    config.write_text("seed = \n")
    with pytest.raises(ConfigError, match="cannot be read"):
        CliRunner().invoke(probe, ["--config", str(config)], catch_exceptions=False)


def test_the_api_names_exist_and_importing_featx_is_light():
    code = """
import json, sys, featx
light = [name for name in ("keras", "sklearn", "pandas", "numpy") if name in sys.modules]
print(json.dumps([light, [callable(getattr(featx, name)) for name in dir(featx) if name != "__version__"]]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    light, found = json.loads(done.stdout)
    assert light == []
    assert found
    assert all(found)


def test_an_argument_that_is_not_utf8_is_one_line(capsys):
    assert run(["data", "check", "\udcff.csv"]) == 2
    assert capsys.readouterr().err == "featx: error: '\\udcff.csv' is not UTF-8; rename that file or folder\n"


def test_names_that_are_not_utf8_can_be_printed(tmp_path):
    code = "import featx_cli.main as m; m._let_any_name_out(); print('a\\udcff'); import sys; print('\\udcff', file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"a\xff\n", b"\\udcff\n")


@pytest.mark.parametrize(
    "line",
    [
        "extract",
        "train-svm",
        "finetune",
        "saliency",
        "embedding",
        "robustness",
        "finalize",
        "predict",
        "report",
        "data check",
        "data preview",
        "protocol make",
        "cache export",
        "cache prune",
        "study run",
        "study plan",
        "study status",
        "study report",
    ],
)
def test_what_reads_a_manifest_can_be_allowed_to_leave_its_folder(line):
    assert "--allow-outside" in CliRunner().invoke(command_line.featx, [*line.split(), "--help"]).output
