"""What a statistical test found."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """The result of one test. Every p value is two-sided unless `test` says otherwise.

    Attributes
    ----------
    test : str
        The test and its source.
    p : float
        The p value; NaN where the test cannot be made, and a warning says why.
    statistic : float
        The test statistic.
    statistic_name : str
        Its name, such as ``"z"`` or ``"F"``.
    freedom : tuple of float
        Degrees of freedom; empty where the reference distribution has none.
    estimate : float
        What was tested: the difference a - b of a metric; NaN where the test has no such estimate.
    low, high : float
        Confidence interval of the estimate; NaN where there is none.
    level : float
        Its confidence.
    interval : str
        How it was made, ``"none"`` where there is none.
    correction : str
        What was corrected for overlapping folds, groups or multiple testing; ``"none"``.
    n, positives : int or None
        Images, and those of the positive class; None where the test does not see images, `positives` also
        None with several classes.
    folds : int
        Folds (or blocks) that entered; 1 for one test set.
    warnings : tuple of str
        Assumptions that fail, one sentence each.
    """

    test: str
    p: float
    statistic: float
    statistic_name: str
    freedom: tuple[float, ...] = ()
    estimate: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    level: float = 0.95
    interval: str = "none"
    correction: str = "none"
    n: int | None = None
    positives: int | None = None
    folds: int = 1
    warnings: tuple[str, ...] = ()
