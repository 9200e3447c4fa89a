"""Names of tasks in file names and in headings."""

from __future__ import annotations

from .summary import Summary

__all__ = ["heading", "slugs"]


def heading(summary: Summary, setting: tuple[str, str]) -> str:
    """Name a task in a heading.

    Parameters
    ----------
    summary : Summary
        What the report is made of.
    setting : tuple of (str, str)
        Task and protocol.

    Returns
    -------
    str
        The task; with its protocol where the report has several.
    """
    alone = len({protocol for _, protocol in summary.settings}) == 1
    return setting[0] if alone else f"{setting[0]}, {setting[1]}"


def slugs(summary: Summary) -> dict[tuple[str, str], str]:
    """Name files for tasks: letters, digits, dots and hyphens, each name once.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    dict
        Task and protocol to the name.
    """
    names: dict[tuple[str, str], str] = {}
    protocols = {protocol for _, protocol in summary.settings}
    for task, protocol in summary.settings:
        text = task if len(protocols) == 1 else f"{task}-{protocol}"
        base = (
            "-".join("".join(char if char.isalnum() or char in "._" else " " for char in text).split())
            or "task"
        )
        name, number = base, 2
        while name.casefold() in {other.casefold() for other in names.values()}:
            name, number = f"{base}-{number}", number + 1
        names[task, protocol] = name
    return names
