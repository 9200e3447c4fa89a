from __future__ import annotations

from pathlib import Path

import pytest

from featx.errors import ConfigError
from featx.reporting.maps.overlays import INDEX, SaliencyMap, gallery, read_index, write_index

MAP = SaliencyMap("malignant-vs-benign", "5x2", "A", "1x1", "i0", "malignant", 0.5, "conv5", "i0.png")


def test_maps_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_index(tmp_path, [MAP])
    (tmp_path / "i0.png").write_bytes(b"png")
    assert read_index(tmp_path) == (MAP,)
    assert gallery(tmp_path) == {
        ("malignant-vs-benign", "5x2", "A", "i0"): (MAP, "data:image/png;base64,cG5n")
    }


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2, "maps": []}', '{"format": 1, "maps": [{"a": 1}]}'])
def test_an_index_that_cannot_be_read_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(ConfigError, match="Give a folder that `featx saliency` has written"):
        read_index(tmp_path)


def test_a_missing_picture_is_an_error(tmp_path: Path) -> None:
    write_index(tmp_path, [MAP])
    with pytest.raises(ConfigError, match=r"i0\.png: cannot be read"):
        gallery(tmp_path)
