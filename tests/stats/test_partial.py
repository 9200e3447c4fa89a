"""Partial areas against pROC's published values and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from featx.errors import ConfigError
from featx.stats.auc import roc_auc
from featx.stats.partial import partial_auc

PROC = [
    ("wfns", 0.9, 1.0, "specificity", 0.0334417344173442, 0.649693339038653),
    ("wfns", 0.8, 0.9, "specificity", 0.0598373983739837, 0.763749402199904),
    ("wfns", 0.0, 0.5, "specificity", 0.488134475939354, 0.952537903757416),
    ("ndka", 0.9, 1.0, "specificity", 0.0107046070460705, 0.530024247610897),
    ("ndka", 0.8, 0.9, "specificity", 0.0277777777777778, 0.575163398692811),
    ("wfns", 0.9, 1.0, "sensitivity", 0.0400999322493225, 0.68473648552275),
    ("wfns", 0.8, 0.9, "sensitivity", 0.0609953703703703, 0.770561002178649),
    ("ndka", 0.8, 0.9, "sensitivity", 0.0242547425474255, 0.554439662043679),
    ("ndka", 0.0, 0.5, "sensitivity", 0.428523035230352, 0.714092140921409),
]


@pytest.mark.parametrize(("marker", "low", "high", "focus", "bare", "standardised"), PROC)
def test_equals_proc_on_its_example(
    asah: dict[str, np.ndarray],
    marker: str,
    low: float,
    high: float,
    focus: str,
    bare: float,
    standardised: float,
) -> None:
    arrays = asah["poor"], asah[marker]
    found = partial_auc(*arrays, low=low, high=high, focus=focus, standardised=False)
    assert found == pytest.approx(bare, rel=1e-9)
    assert partial_auc(*arrays, low=low, high=high, focus=focus) == pytest.approx(standardised, rel=1e-9)


@given(st.integers(0, 1000), st.floats(0.02, 0.98))
def test_equals_scikit_learn_and_adds_up(seed: int, edge: float) -> None:
    rng = np.random.default_rng(seed)
    actual, scores = np.array([0, 1, *rng.integers(0, 2, 20)]), rng.integers(0, 8, 22)
    assert partial_auc(actual, scores, low=edge) == pytest.approx(
        roc_auc_score(actual, scores, max_fpr=1 - edge), abs=1e-9
    )
    for focus in ("specificity", "sensitivity"):
        parts = [
            partial_auc(actual, scores, low=low, high=high, focus=focus, standardised=False)
            for low, high in ((0, edge), (edge, 1))
        ]
        assert sum(parts) == pytest.approx(roc_auc(actual, scores))


def test_one_class_is_undefined() -> None:
    assert np.isnan(partial_auc([1, 1], [0.1, 0.2]))


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="in order within 0 and 1"):
        partial_auc([0, 1], [0, 1], low=0.9, high=0.8)
    with pytest.raises(ConfigError, match="'focus' parameter must be one of"):
        partial_auc([0, 1], [0, 1], focus="precision")
