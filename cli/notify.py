"""The command of `--notify`: run once, when a command has ended."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from featx.process import end_session

__all__ = ["notify"]

_SECONDS = 30.0
_MOST_CHARACTERS = 1000
_STDERR = 2


def notify(command: str, facts: Mapping[str, str]) -> str:
    """Run a shell command with facts as environment variables, and end it after 30 seconds.

    Parameters
    ----------
    command : str
        For ``sh -c``. What it prints goes to stderr.
    facts : mapping of str to str
        Name of a variable, without ``FEATX_``, to its value; a variable without a value is not set.

    Returns
    -------
    str
        A warning if the command failed or had to be ended, else an empty text. It does not repeat the command, which
        may hold a password.
    """
    environment = {
        name: value for name, value in os.environ.items() if name.removeprefix("FEATX_") not in facts
    }
    environment |= {f"FEATX_{name}": _line(value) for name, value in facts.items() if value}
    try:
        process = subprocess.Popen(
            command,
            shell=True,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=_STDERR,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"the command of --notify cannot be run: {error}"
    try:
        code = process.wait(_SECONDS)
    except subprocess.TimeoutExpired:
        return f"the command of --notify was ended after {_SECONDS:g} s"
    finally:
        if process.returncode is None:
            end_session(process)
            process.wait()
    return f"the command of --notify failed with exit code {code}" if code else ""


def _line(text: str) -> str:
    """Make a text one that a variable can hold: one line, of limited length, without NUL."""
    line = " ".join(text.replace("\0", "").split())[:_MOST_CHARACTERS]
    return line.encode("utf-8", "backslashreplace").decode("utf-8")
