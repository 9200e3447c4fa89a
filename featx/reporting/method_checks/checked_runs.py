"""Method checks of runs: their results, the table of a report, and the warnings that they stand for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from weakref import WeakKeyDictionary

from featx.errors import ConfigError, listing
from featx.reporting.report_settings import SEVERITIES
from featx.reporting.summary import Summary, summarise
from featx.reporting.tables import Column, Filled

from .method_table import METHOD_CHECKS
from .outcomes import CheckResult, Look, MethodCheck, claimed

__all__ = ["CHECKS_TABLE", "check_methods", "check_summary", "failing", "known_codes", "remaining_warnings"]

_PAGE = "docs/method-checks.md"
_STATES = ("failed", "cannot be told", "passed", "ignored")
_MOST_FOUND = _MOST_ARMS = 4


def check_methods(
    runs: Path | str | Sequence[Path | str],
    *,
    planned: Sequence[str | tuple[str, str]] = (),
    ignore: Sequence[str] = (),
) -> tuple[CheckResult, ...]:
    """Check runs for what reviewers of a study ask first: leakage, groups, sample size, choices on the test set.

    Parameters
    ----------
    runs : path or sequence of paths
        Run folders, or folders that hold some.
    planned : sequence of str or (str, str)
        Comparisons of two arms that were planned before the results were seen, as of `featx.report`.
    ignore : sequence of str
        Codes of checks that do not apply to the study; their state is ``"ignored"``.

    Returns
    -------
    tuple of CheckResult
        One for each check, in the order of the codes; `state` is ``"passed"``, ``"failed"``, ``"cannot be told"`` (the
        runs do not record it) or ``"ignored"``.

    Raises
    ------
    RunError
        If a folder holds no finished run, or runs do not belong together.
    ConfigError
        If a code is unknown.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from featx.runs import Prediction, RunRecord, write_run
    >>> folder = Path(mkdtemp())
    >>> for fold in ("1", "2"):
    ...     record = RunRecord(
    ...         kind="svm", arm="frozen", task="melanoma", classes=("nevus", "melanoma"), scored=("melanoma",),
    ...         protocol="mine", fold=fold, folds_digest="", seed=0, manifest={}, features={}, settings={},
    ...     )
    ...     rows = [
    ...         Prediction(str(i), fold, str(i), "melanoma" if i > 2 else "nevus", {"melanoma": i % 4}) for i in range(6)
    ...     ]
    ...     run = write_run(folder / fold, record, rows, {})
    >>> found = {one.code: one for one in check_methods(folder)}
    >>> found["FX201"].state, found["FX201"].found
    ('failed', ('frozen (melanoma): repeated test sets: 2 = 1',))
    """
    known_codes(ignore)
    given = [runs] if isinstance(runs, str | Path) else list(runs)
    return check_summary(replace(summarise(given, planned=planned), ignored=tuple(ignore)))


def known_codes(codes: Iterable[str]) -> None:
    """Raise `ConfigError` for a code that no check has."""
    known = [check.code for check in METHOD_CHECKS]
    for code in codes:
        if code not in known:
            near = difflib.get_close_matches(code.upper(), known, 1)
            hint = f"did you mean {near[0]}?" if near else f"codes are {known[0]} to {known[-1]}, see {_PAGE}"
            raise ConfigError(
                f"The 'ignore' parameter must name codes of method checks. Got {code!r}; {hint}"
            )


_CHECKED: WeakKeyDictionary[Summary, tuple[CheckResult, ...]] = WeakKeyDictionary()


def check_summary(summary: Summary) -> tuple[CheckResult, ...]:
    """Do all method checks on the summary of a report, in the order of the codes."""
    if summary not in _CHECKED:
        _CHECKED[summary] = tuple(_result(check, summary) for check in METHOD_CHECKS)
    return _CHECKED[summary]


def _result(check: MethodCheck, summary: Summary) -> CheckResult:
    ignored = check.code in summary.ignored
    looks = [] if ignored else list(check.look(summary))
    failed, untold = ([one for one in looks if one.ok is value] for value in (False, None))
    state = "failed" if failed else "cannot be told" if len(untold) == len(looks) else "passed"
    found = (*_said(failed), *_said(untold, "cannot be told of "))
    told = {item.name: getattr(check, item.name) for item in fields(CheckResult) if hasattr(check, item.name)}
    return CheckResult(
        **told, state="ignored" if ignored else state, found=found, page=f"{_PAGE}#{check.code.lower()}"
    )


def _said(looks: Iterable[Look], before: str = "") -> list[str]:
    """Write what was found of which arms; arms of which the same was found are one text."""
    places: dict[str, list[str]] = {}
    for look in looks:
        places.setdefault(look.text, []).extend([look.where] if look.where else [])
    named = ((before + listing(where, _MOST_ARMS) if where else "", text) for text, where in places.items())
    return [": ".join(filter(None, parts)) for parts in named if any(parts)]


def _shown(result: CheckResult) -> str:
    """Join the first of what was found, and say how much more there is."""
    rest = len(result.found) - _MOST_FOUND
    return "; ".join((*result.found[:_MOST_FOUND], *([f"{rest} more"] if rest > 0 else [])))


def failing(results: Iterable[CheckResult], severity: str) -> list[CheckResult]:
    """Select the failed checks of a severity or a worse one."""
    worst = SEVERITIES[: SEVERITIES.index(severity) + 1]
    return [one for one in results if one.failed and one.severity in worst]


def remaining_warnings(summary: Summary) -> tuple[str, ...]:
    """List what a reader has to know: the failed checks but notes, and the warnings that no failed check stands for."""
    failed = failing(check_summary(summary), "warning")
    codes = {one.code for one in failed}
    claims = [check.claims for check in METHOD_CHECKS if check.code in codes and check.claims]
    lines = [f"{one.code} {one.name}: {_shown(one)}." for one in failed]
    rest = [text for text in summary.warnings if not any(claimed(text, claim) for claim in claims)]
    return (*lines, *rest)


def checks_table(summary: Summary) -> Filled:
    """Fill the table of method checks: failed ones first, by severity."""
    results = sorted(
        check_summary(summary), key=lambda one: (_STATES.index(one.state), SEVERITIES.index(one.severity))
    )
    rows = [
        (
            *(one.code, one.name, one.state, one.severity),
            _shown(one) or None,
            *(one.threshold, one.source, one.page),
        )
        for one in results
    ]
    names = {
        "code": "Code",
        "check": "Check",
        "result": "Result",
        "severity": "Severity",
        "found": "Found",
        "threshold": "Fails at",
        "source": "Source",
        "page": "Documentation",
    }
    return Filled(tuple(Column(name, title, text=True) for name, title in names.items()), rows)


CHECKS_TABLE = (
    "method-checks",
    "Method checks",
    "What reviewers ask first, answered from the runs. Failed checks come first. Cannot be told: the runs do not record it. "
    "The documentation gives the reason of each check, and what to do if it fails.",
    "",
    checks_table,
)
"""Name, title, caption, needs and function of the table of a report."""
