from __future__ import annotations

from .counts import table
from .writers import all_at_once


def test_writers_readers_compaction_and_pruning_do_each_other_no_harm(tmp_path):
    found = all_at_once(tmp_path, seconds=2, seed=0)
    assert not any(one.bad for one in found), table(found)
    assert all(one.survived for one in found), table(found)
