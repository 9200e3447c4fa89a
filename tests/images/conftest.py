"""What tests of content keys share."""

from __future__ import annotations

from pathlib import Path

import pytest

from featx.images import content


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read."""
    names: list[str] = []
    hash_file = content._hash

    def counted(name: str) -> object:
        names.append(Path(name).name)
        return hash_file(name)

    monkeypatch.setattr(content, "_hash", counted)
    return names
