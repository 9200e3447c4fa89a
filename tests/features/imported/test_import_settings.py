"""Options of `featx cache import`."""

from __future__ import annotations

import pytest

from featx.errors import ConfigError
from featx.features import ImportSettings


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "-m", "a b", "x" * 61])
def test_a_name_must_be_that_of_a_folder(name):
    with pytest.raises(ConfigError, match="'name' parameter"):
        ImportSettings.make({"name": name, "manifest": "m.csv"})


def test_name_and_manifest_are_required_and_an_arm_must_be_a_file_name():
    for given in ({"manifest": "m.csv"}, {"name": "derm"}):
        with pytest.raises(ConfigError, match="is required"):
            ImportSettings.make(given)
    with pytest.raises(ConfigError, match="'arm' parameter"):
        ImportSettings.make({"name": "derm", "manifest": "m.csv", "arm": "a/b"})
