"""Data shared by the statistics' tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ASAH = Path(__file__).parent / "asah.csv"
REFERENCE = Path(__file__).parent / "reference"


@pytest.fixture(scope="session")
def asah() -> dict[str, np.ndarray]:
    """Ranks of 113 patients after a subarachnoid haemorrhage: outcome and three markers.

    Turck et al. 2010 (Intensive Care Medicine 36, 107-115), the example of the R package pROC. The columns
    hold the order of the values (ties kept), restored from the placement values that pROC publishes; areas
    under the ROC curve and DeLong's variances depend on the order alone.
    """
    table = np.genfromtxt(ASAH, delimiter=",", names=True, dtype=np.int64)
    return {name: table[name] for name in table.dtype.names}


@dataclass(frozen=True, eq=False)
class Reference:
    """A cohort of three sites, and what R says of it (``reference/reference.R``)."""

    cohort: dict[str, np.ndarray]
    values: dict[str, float]


@pytest.fixture(scope="session")
def reference() -> Reference:
    """Simulated patients with event, probability and site, and R's values."""
    table = pd.read_csv(REFERENCE / "cohort.csv")
    values = pd.read_csv(REFERENCE / "reference.csv", index_col="name")["value"]
    return Reference({name: table[name].to_numpy() for name in table.columns}, values.to_dict())
