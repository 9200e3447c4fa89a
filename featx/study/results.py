"""What of a study is finished: the runs that each of its reports is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from featx.study.jobs import Job, State
from featx.study.plan import Plan

__all__ = ["settled"]

_LEAVING_RUNS = frozenset({"source", "finetune", "svm"})


def settled(plan: Plan, states: Mapping[str, State]) -> list[Job]:
    """Settle what each report of a study is over: the finished SVMs, and the trainings behind them.

    Parameters
    ----------
    plan : Plan
        The study.
    states : mapping of str to State
        Digest of every other job to how far it is.

    Returns
    -------
    list of Job
        The reports, with the run folders as their argument ``paths``; those without a finished SVM are left out.
    """
    jobs = {job.digest: job for job in plan.jobs}
    made = []
    for job in plan.jobs:
        finished = tuple(key for key in job.needs if job.kind == "report" and states[key].name == "done")
        if finished:
            sources = [
                key
                for key in _behind(jobs, finished)
                if jobs[key].kind in _LEAVING_RUNS and states[key].name == "done"
            ]
            paths = [path for key in sources for path in states[key].result["paths"]]
            made.append(replace(job, arguments={**job.arguments, "paths": paths}, needs=finished))
    return made


def _behind(jobs: Mapping[str, Job], keys: Sequence[str]) -> list[str]:
    """List jobs with all that they need, directly or not, each once."""
    found: dict[str, None] = {}
    waiting = list(keys)
    while waiting:
        key = waiting.pop(0)
        if key not in found:
            found[key] = None
            waiting += jobs[key].needs
    return list(found)
