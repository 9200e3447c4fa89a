"""Calibrations in JSON types, and back."""

from __future__ import annotations

import dataclasses
from typing import Any

from featx.stats import Calibration, IsotonicCurve, Sigmoid

__all__ = ["calibration_from", "calibration_record"]


def calibration_record(calibration: Calibration) -> dict[str, Any]:
    """Convert a calibration to JSON types.

    Examples
    --------
    >>> calibration_record(Calibration("sigmoid", (Sigmoid(1.0, 0.5),), 9, (4,)))["curves"]
    [{'slope': 1.0, 'intercept': 0.5}]
    """
    stated = dataclasses.asdict(calibration)
    curves = [{name: _plain(value) for name, value in curve.items()} for curve in stated["curves"]]
    return {**stated, "curves": curves, "positives": list(calibration.positives)}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def calibration_from(stated: dict[str, Any]) -> Calibration:
    """Create a calibration from JSON types.

    Examples
    --------
    >>> one = Calibration("isotonic", (IsotonicCurve((0.0, 1.0), (0.2, 0.8)),), 9, (4,))
    >>> calibration_from(calibration_record(one)) == one
    True
    """
    curves = tuple(_curve(stated["method"], curve) for curve in stated["curves"])
    return Calibration(stated["method"], curves, stated["n"], tuple(stated["positives"]))


def _curve(method: str, stated: dict[str, Any]) -> Sigmoid | IsotonicCurve:
    if method == "sigmoid":
        return Sigmoid(stated["slope"], stated["intercept"])
    return IsotonicCurve(tuple(stated["scores"]), tuple(stated["probabilities"]))
