"""Running of targets in forked processes, within bounds of time and memory, and away from everything else."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featx.errors import FeatxError

from .mutate import mutated
from .targets import Target

CORPUS = Path(__file__).parent / "corpus"
_MEMORY = 500 << 20
_HUNG_SECONDS = 20.0
_BATCH = 200
_POOL = 500
# What no parser may do. Opening files is watched for those outside of the input's folder that are written.
_FORBIDDEN = {
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.connect",
    "pty.spawn",
}


def outcome(target: Target, path: Path) -> tuple[str, str]:
    """Read a file: what kind of thing came of it, and which."""
    try:
        target.read(path)
    except FeatxError as error:
        return "error", re.sub(r"[\d'\"].*?\b|\S*/\S*", "", f"{type(error).__name__} {error}")[:80]
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return (
            "bad",
            f"{type(error).__name__}: {str(error)[:150]!r} at {Path(last.filename).name}:{last.lineno}",
        )
    return "value", ""


def batch(target: Target, inputs: Sequence[bytes], folder: Path) -> list[tuple[str, str]]:
    """Read files in a process of its own.

    Parameters
    ----------
    target : Target
        What reads them.
    inputs : sequence of bytes
        The files.
    folder : Path
        Where to write them.

    Returns
    -------
    list of (str, str)
        For each file that was read ``value``, ``error``, ``bad`` or ``hung``, and which. A file that ends the process is
        the last one.
    """
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        os.close(reader)
        try:
            _work(target, inputs, folder, writer)
        finally:
            os._exit(0)
    os.close(writer)
    found: list[tuple[str, str]] = []
    with os.fdopen(reader, "rb") as pipe:
        while len(found) < len(inputs):
            ready, _, _ = select.select([pipe], [], [], _HUNG_SECONDS)
            if not ready:
                os.kill(process, signal.SIGKILL)
                found.append(("hung", f"more than {_HUNG_SECONDS:.0f} s"))
                break
            if not (line := pipe.readline()):
                break
            found.append(tuple(json.loads(line)))
    _, status = os.waitpid(process, 0)
    if len(found) < len(inputs) and (not found or found[-1][0] != "hung"):
        found.append(("bad", f"the process ended with {os.waitstatus_to_exitcode(status)}"))
    return found


def _work(target: Target, inputs: Sequence[bytes], folder: Path, writer: int) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY,) * 2)
    did: list[str] = []

    def watch(event: str, given: tuple[Any, ...]) -> None:
        if event in _FORBIDDEN:
            did.append(event)

    sys.addaudithook(watch)
    for data in inputs:
        path = target.put(folder, target.ending, data)
        result = outcome(target, path)
        if did:
            result = "bad", f"it did {did[0]}"
        os.write(writer, (json.dumps(result) + "\n").encode())


@dataclass
class Found:
    """What came of fuzzing a parser.

    Attributes
    ----------
    survived : int
        Files that gave a value or an error of featx.
    kinds : int
        Different outcomes.
    wrong, hung : list of str
        Names in the corpus of the others, one for each place where something broke, with what happened.
    """

    survived: int = 0
    kinds: int = 0
    wrong: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)


def fuzz(target: Target, seconds: float, seed: int, folder: Path, corpus: Path = CORPUS) -> Found:
    """Change files and read them, for some seconds. A file with a new outcome is changed further.

    Parameters
    ----------
    target : Target
        What reads them.
    seconds : float
        How long.
    seed : int
        Seed of the changes.
    folder : Path
        An empty folder to work in.
    corpus : Path
        Where files that fail are kept.

    Returns
    -------
    Found
        What came of them.
    """
    rng, found, seen = random.Random(f"{target.name}-{seed}"), Found(), set[tuple[str, str]]()
    place = folder / "input"
    place.mkdir()
    pool = [*target.seeds(place), *(path.read_bytes() for path in sorted((corpus / target.name).glob("*")))]
    end, todo = time.monotonic() + seconds, list(pool)
    while time.monotonic() < end:
        for data, (kind, what) in zip(todo, batch(target, todo, place), strict=False):
            bad = kind in ("bad", "hung")
            # Of what breaks at one place, one file is enough.
            outcome = (kind, what.rsplit(" at ", 1)[-1] if bad else what)
            found.survived += not bad
            if outcome not in seen and bad:
                (found.hung if kind == "hung" else found.wrong).append(
                    f"{keep(target, data, corpus)}: {what}"
                )
            elif outcome not in seen and len(pool) < _POOL:
                pool.append(data)
            seen.add(outcome)
        todo = [mutated(rng.choice(pool), rng.choice(pool), target.ending, rng) for _ in range(_BATCH)]
    found.kinds = len(seen)
    return found


def keep(target: Target, data: bytes, corpus: Path) -> str:
    """Put a file that failed into the corpus; returns its name there."""
    name = hashlib.sha256(data).hexdigest()[:12]
    (corpus / target.name).mkdir(parents=True, exist_ok=True)
    (corpus / target.name / name).write_bytes(data)
    return name
