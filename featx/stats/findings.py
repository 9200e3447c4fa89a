"""What a statistical test found."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.stats import t

from .inputs import check_share

__all__ = ["TestResult", "bounds"]


@dataclass(frozen=True)
class TestResult:
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
    error : float
        Standard error of the estimate; NaN where there is none.
    error_freedom : float
        Degrees of freedom of the error's t distribution; infinite where it is taken as normal.
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
    error: float = float("nan")
    error_freedom: float = float("inf")
    correction: str = "none"
    n: int | None = None
    positives: int | None = None
    folds: int = 1
    warnings: tuple[str, ...] = ()


def bounds(
    estimate: float, error: float, freedom: float = float("inf"), level: float = 0.95
) -> tuple[float, float]:
    """Confidence interval of an estimate from its standard error.

    Parameters
    ----------
    estimate, error : float
        The estimate and its standard error.
    freedom : float
        Degrees of freedom of the t distribution; infinite for the normal one.
    level : float
        Confidence.

    Returns
    -------
    low, high : float
        NaN where the error is 0 or does not exist: an estimate that did not vary is no certainty.

    Raises
    ------
    ConfigError
        If `level` is not between 0 and 1.

    Examples
    --------
    >>> low, high = bounds(0.02, 0.01)
    >>> round(low, 4), round(high, 4)
    (0.0004, 0.0396)
    """
    reach = float(t.ppf((1 + check_share("level", level)) / 2, freedom)) * error
    if not reach > 0:
        return float("nan"), float("nan")
    return estimate - reach, estimate + reach
