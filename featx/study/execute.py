"""Execution of a plan: its unfinished jobs, then the reports on the finished ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from featx.files import write_json
from featx.jobs import Place, Scheduler, State, StudyJob, locked, read_state
from featx.progress import Progress, Silent

from .plan import Plan
from .study_files import KEPT

__all__ = ["StudyOutcome", "Written", "execute", "settled"]
_LEAVING_RUNS = frozenset({"source", "finetune", "svm"})


def settled(plan: Plan, states: Mapping[str, State]) -> list[StudyJob]:
    """Find the runs of each report of a study: the finished SVMs, and the trainings before them.

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


def _behind(jobs: Mapping[str, StudyJob], keys: Sequence[str]) -> list[str]:
    """List jobs with all that they need, directly or not, each once."""
    found: dict[str, None] = {}
    waiting = list(keys)
    while waiting:
        key = waiting.pop(0)
        if key not in found:
            found[key] = None
            waiting += jobs[key].needs
    return list(found)


@dataclass(frozen=True)
class Written:
    """A finished report.

    Attributes
    ----------
    folder : Path
        Where ``report.html``, tables and figures are.
    table : str
        AUC by arm, as aligned text.
    findings : tuple of str
        The main result of each task, in a sentence or two.
    """

    folder: Path
    table: str
    findings: tuple[str, ...]


@dataclass
class StudyOutcome:
    """What a run of a study did.

    Attributes
    ----------
    done, reused : list of Job
        Jobs finished by this run, and jobs finished before.
    failed : dict of str to str
        Label of each failed job, now or before, to its reason.
    blocked : list of Job
        Jobs that were not started, because a job that they need has failed.
    reports : list of Written
        The finished reports, one for each target.
    attempts : dict of str to int
        Label of each job that was started more than once, because its worker or machine died, to the number.
    """

    done: list[StudyJob] = field(default_factory=list)
    reused: list[StudyJob] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: list[StudyJob] = field(default_factory=list)
    reports: list[Written] = field(default_factory=list)
    attempts: dict[str, int] = field(default_factory=dict)


def execute(
    plan: Plan,
    place: Place,
    *,
    retry_failed: bool = False,
    retries: int = 0,
    progress: Progress | None = None,
) -> StudyOutcome:
    """Run the unfinished jobs of a plan at a place."""
    with locked(plan.output):
        write_json(plan.output / KEPT, plan.study.model_dump(mode="json"))
        return _Execution(plan, place, retry_failed, retries, progress or Silent()).run()


class _Execution:
    """One run of a plan."""

    def __init__(
        self, plan: Plan, place: Place, retry_failed: bool, retries: int, progress: Progress
    ) -> None:
        self.plan, self.progress, self.outcome = plan, progress, StudyOutcome()
        self.work = [job for job in plan.jobs if job.kind != "report"]
        self.states = {job.digest: read_state(job, plan.output) for job in self.work}
        if retry_failed:
            failed = [key for key, state in self.states.items() if state.name == "failed"]
            self.states |= dict.fromkeys(failed, State("pending"))
        self.scheduler = Scheduler(
            place, plan.output, self.states, retries=retries, progress=progress, keys=plan.keys
        )

    def run(self) -> StudyOutcome:
        """Run the jobs, then the reports on the finished ones."""
        outcome, scheduler = self.outcome, self.scheduler
        outcome.done, outcome.failed = scheduler.done, scheduler.failed
        for job in self.work:
            state = self.states[job.digest]
            if state.name == "done":
                outcome.reused.append(job)
            elif state.name == "failed":
                outcome.failed[job.label] = state.reason
        self.progress.start("study", len(self.plan.jobs), "jobs")
        self.progress.advance(len(outcome.reused))
        with scheduler.on_duty():
            scheduler.do(self._open(self.work))
            reports = self._reports()
            scheduler.do(self._open(reports))
        self.progress.finish()
        outcome.blocked = self._open(self.work)
        outcome.attempts = {
            job.label: scheduler.executions[job.digest]
            for job in outcome.done
            if scheduler.executions[job.digest] > 1
        }
        outcome.reports = [
            Written(Path(job.arguments["output"]), state.result["table"], tuple(state.result["findings"]))
            for job, state in ((job, self.states[job.digest]) for job in reports)
            if state.name == "done"
        ]
        return outcome

    def _open(self, jobs: Sequence[StudyJob]) -> list[StudyJob]:
        return [job for job in jobs if self.states[job.digest].name in {"pending", "started"}]

    def _reports(self) -> list[StudyJob]:
        """Find the runs of each report, and the reports that are finished."""
        reports = settled(self.plan, self.states)
        for report in reports:
            state = read_state(report, self.plan.output)
            self.states[report.digest] = State("pending") if state.name == "failed" else state
            if state.name == "done":
                self.outcome.reused.append(report)
                self.progress.advance()
        return reports
