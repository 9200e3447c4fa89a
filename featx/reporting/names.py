"""Names of tasks in file names and in headings, and of trainings."""

from __future__ import annotations

from featx.runs import Run

from .summary import Summary

__all__ = ["heading", "slugs", "trainings"]


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


def trainings(summary: Summary) -> dict[tuple[str, str], tuple[Run, ...]]:
    """Sort fine-tuning runs by the network that they train and by task.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    dict of (name, task) to tuple of Run
        The name is the runs' arm, with the backbone where several were trained.
    """

    def backbone(run: Run) -> str:
        return str((run.record.features.get("recipe") or {}).get("backbone", ""))

    several = len({backbone(run) for run in summary.training}) > 1
    found: dict[tuple[str, str], tuple[Run, ...]] = {}
    for run in summary.training:
        name = f"{run.record.arm} ({backbone(run)})" if several else run.record.arm
        found[name, run.record.task] = (*found.get((name, run.record.task), ()), run)
    return found
