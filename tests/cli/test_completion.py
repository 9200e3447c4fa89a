"""`featx completion`: the script of each shell calls featx, which then answers with options and commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from featx_cli.main import run


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_reads(shell, capsys):
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_FEATX_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_options_and_commands_are_completed():
    settings = {
        "_FEATX_COMPLETE": "bash_complete",
        "COMP_WORDS": "featx train-svm --proto",
        "COMP_CWORD": "2",
    }
    code = "from featx_cli.main import main; main()"
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    assert done.stdout == "plain,--protocol\n"


def test_an_unknown_shell_is_bad_input(capsys):
    assert run(["completion", "tcsh"]) == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err
