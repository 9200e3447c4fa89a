"""Data shared by the statistics' tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

ASAH = Path(__file__).parent / "asah.csv"


@pytest.fixture(scope="session")
def asah() -> dict[str, np.ndarray]:
    """Ranks of 113 patients after a subarachnoid haemorrhage: outcome and three markers.

    Turck et al. 2010 (Intensive Care Medicine 36, 107-115), the example of the R package pROC. The columns
    hold the order of the values (ties kept), restored from the placement values that pROC publishes; areas
    under the ROC curve and DeLong's variances depend on the order alone.
    """
    table = np.genfromtxt(ASAH, delimiter=",", names=True, dtype=np.int64)
    return {name: table[name] for name in table.dtype.names}
