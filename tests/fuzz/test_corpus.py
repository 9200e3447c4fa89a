"""Files that have broken a parser, and a few new ones; `make fuzz` is the long form."""

from __future__ import annotations

import random
import zlib

import pytest

from .mutate import mutated
from .run import CORPUS, batch
from .targets import TARGETS, Target


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_whatever_the_bytes_a_value_or_an_error_of_featx(target: Target, tmp_path):
    folder = tmp_path / "input"
    folder.mkdir()
    seeds = target.seeds(folder)
    corpus = [path.read_bytes() for path in sorted((CORPUS / target.name).glob("*"))]
    rng = random.Random(zlib.crc32(target.name.encode()))
    changed = [mutated(rng.choice(seeds), rng.choice(seeds), target.ending, rng) for _ in range(30)]
    found = batch(target, [*seeds, *corpus, *changed], folder)
    assert [what for kind, what in found if kind in ("bad", "hung")] == []
    assert len(found) == len(seeds) + len(corpus) + len(changed)


def test_what_a_parser_must_not_do_is_seen(tmp_path):
    """The net holds: other errors, hangs, memory, processes and dead processes are told from what is right."""

    def reads(work: str) -> Target:
        return Target(
            "test", ".x", lambda path: exec(work), lambda folder: [], lambda folder, ending, data: folder
        )

    bad = {
        "1 / 0": "ZeroDivisionError",
        "bytearray(600 << 20)": "MemoryError",
        "import os; os.system('true')": "it did os.system",
        "import os; os.kill(os.getpid(), 9)": "the process ended with -9",
    }
    for work, message in bad.items():
        ((kind, what),) = batch(reads(work), [b""], tmp_path)
        assert (kind, what[: len(message)]) == ("bad", message)
    for work in ("from featx.errors import StoreError; raise StoreError('no')", "1"):
        ((kind, _),) = batch(reads(work), [b""], tmp_path)
        assert kind in ("value", "error")
