"""What a command records of itself for batch jobs: `--log-json`, `--summary` and `--notify`."""

from __future__ import annotations

import errno
import functools
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click

from featx.batch_log import RateMeter, Reading
from featx.errors import ConfigError, FeatxError
from featx.files import aside_folder, write_text
from featx.machine import peak_memory
from featx.options import Options, path, text
from featx.progress import BusySeconds, Progress, pass_stages

from . import flags
from .job_summary import ENDS, JobFacts, markdown, shown_command
from .notify import notify

__all__ = ["Batch", "BatchOptions", "current_batch", "recorded", "results", "say"]

_Command = TypeVar("_Command", bound=Callable[..., Any])
_WARNING = re.compile(r"(featx: )?warning: ")


@dataclass(frozen=True, kw_only=True)
class BatchOptions(Options):
    """What is recorded of a command, and who is told of its end."""

    log_json: Path | None = path(
        None, "File to append progress, messages and the exit code to, one JSON object a line."
    )
    summary: Path | None = path(
        None, "Markdown file to write at the end, also after an error or interrupt; - writes to stderr."
    )
    notify: str | None = text(
        None,
        "Shell command to run at the end, also after an error or interrupt. It gets FEATX_VERB, FEATX_EXIT, "
        "FEATX_SECONDS, FEATX_MESSAGE and FEATX_SUMMARY.",
        metavar="COMMAND",
    )


class Batch(Progress):
    """The record of one command, from its options to its exit code.

    It is the object of click's root context. A command without any of the options records nothing.

    Parameters
    ----------
    arguments : sequence of str
        The command line, without the name of the program.
    """

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self._command, self._verb = shown_command(arguments), ""
        self._options = BatchOptions()
        self._started, self._began = datetime.now(UTC), time.monotonic()
        self._meter = RateMeter(self._show)
        self._log: BinaryIO | None = None
        self._summary: Path | None = None
        self._ready = self._over = False
        self._peak = 0
        self._tasks: list[Reading] = []
        self._outcome: list[str] = []
        self._warnings: list[str] = []
        self._results: list[str] = []

    def take(self, verb: str, name: str, value: Any) -> None:
        """Take an option of the command."""
        self._verb = verb
        self._options = BatchOptions.make({**vars(self._options), name: value})

    def take_unparsed(self, context: click.Context, arguments: Sequence[str]) -> None:
        """Take the options from a line that click could not parse, as one with an unknown option."""
        if self._verb or not any(param.name == "notify" for param in context.command.params):
            return
        for name in vars(BatchOptions()):
            flag = f"--{name.replace('_', '-')}"
            for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
                long, _, value = word.partition("=")
                if long == flag and (value or following):
                    self.take(_verb(context), name, value or following)

    def also(self, shown: Progress) -> Progress:
        """Return a receiver that shows progress and records it too."""
        return _Both(shown, self) if self._verb else shown

    def begin(self) -> None:
        """Open the files, before the work starts.

        Raises
        ------
        ConfigError
            If one cannot be written.
        """
        if not self._verb or self._ready:
            return
        self._ready = True
        try:
            if (log := self._options.log_json) is not None:
                self._log = _refused("log-json", log, lambda: _appended(log))
                self._event("start", message=self._command)
        finally:
            # The error about the one file is written to the other.
            if (summary := self._options.summary) is not None:
                _refused("summary", summary, lambda: _try_place(summary))
                self._summary = summary

    def start(self, task: str, total: int, unit: str = "images") -> None:
        """Begin a task."""
        self.finish()
        self._meter.start(task, total, unit)
        self._event("start", task=task, done=0, total=total, unit=unit)

    def stages(self, busy: BusySeconds) -> None:
        """Take the stages of the task."""
        self._meter.stages(busy)

    def advance(self, count: int = 1) -> None:
        """Count units done."""
        self._meter.advance(count)

    def say(self, message: str) -> None:
        """Record a message of the work."""
        if _WARNING.match(message):
            self._warnings.append(_WARNING.sub("", message, count=1))
        for line in message.splitlines():
            self._event("message", message=line)

    def finish(self) -> None:
        """End the task; its rates and busy stages are those of the whole task."""
        if not self._meter.running:
            return
        reading = self._meter.reading()
        self._meter.finish()
        self._peak = max(self._peak, reading.memory)
        self._tasks.append(reading)
        whole = replace(reading, stages=reading.busy, recent=reading.rate)
        self._event("finish", **whole.record(), seconds=round(reading.seconds, 3))

    def outcome(self, message: str) -> None:
        """Record what the command tells about its result."""
        if not _WARNING.match(message):
            self._outcome += message.splitlines()
        self.say(message)

    def results(self, paths: Iterable[Path | str]) -> None:
        """Record where results are."""
        self._results += [str(Path(one).absolute()) for one in paths]

    def end(self, code: int, error: str = "") -> None:
        """Write the last event and the summary, and run the command of `--notify`; nothing here changes the exit code.

        Parameters
        ----------
        code : int
            Exit code of the command.
        error : str
            The line about its error, if it has one.
        """
        if self._over or not self._verb or (code == 0 and not self._ready):
            return
        self._over = True
        try:
            self._end(code, error)
        except KeyboardInterrupt:
            _warn("interrupted at the end, after the work; --summary or --notify may be incomplete")
        except Exception as failure:
            _warn(f"--summary or --notify failed: {type(failure).__name__}: {failure}")

    def _end(self, code: int, error: str) -> None:
        # A command line that cannot be parsed has an end too; files that cannot be written are its error already.
        with suppress(FeatxError):
            self.begin()
        self.finish()
        seconds = time.monotonic() - self._began
        message = error or next(iter(self._outcome), "") or ENDS.get(code, ENDS[1])
        if error:
            self._event("error", message=error)
        self._event("end", exit_code=code, seconds=round(seconds, 3), message=message)
        summary = self._summarise(code, seconds, error)
        if self._options.notify is None:
            return
        facts = {"VERB": self._verb, "EXIT": str(code), "SECONDS": f"{seconds:.0f}", "MESSAGE": message}
        if warning := notify(self._options.notify, {**facts, "SUMMARY": summary}):
            _warn(warning)

    def _summarise(self, code: int, seconds: float, error: str) -> str:
        """Write the summary, and return its path; empty without one."""
        target = self._summary
        if target is None:
            return ""
        facts = JobFacts(
            verb=self._verb,
            command=self._command,
            started=self._started,
            seconds=seconds,
            code=code,
            error=error,
            memory=max(self._peak, peak_memory()),
            tasks=tuple(self._tasks),
            outcome=tuple(self._outcome),
            warnings=tuple(dict.fromkeys(self._warnings)),
            results=tuple(dict.fromkeys(self._results)),
        )
        if str(target) == "-":
            click.echo(markdown(facts), err=True, nl=False)
            return ""
        try:
            write_text(target, markdown(facts))
        except (FeatxError, OSError) as failure:
            _warn(f"--summary {target}: cannot be written: {failure}")
            return ""
        return str(target.absolute())

    def _show(self, reading: Reading) -> None:
        self._peak = max(self._peak, reading.memory)
        self._event("progress", **reading.record())

    def _event(self, event: str, **facts: Any) -> None:
        if self._log is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record = {"time": now, "event": event, "verb": self._verb, **facts}
        line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            # One call for each line: those of jobs that share a file do not mix.
            self._log.write(line.encode("utf-8", "backslashreplace"))
        except OSError as error:
            self._log = None
            _warn(
                f"--log-json {self._options.log_json}: {error.strerror}; the log ends here, the work goes on"
            )


class _Both(Progress):
    """Passes progress to what shows it, and to the record."""

    def __init__(self, shown: Progress, batch: Batch) -> None:
        self._shown, self._batch = shown, batch

    def start(self, task: str, total: int, unit: str = "images") -> None:
        self._shown.start(task, total, unit)
        self._batch.start(task, total, unit)

    def stages(self, busy: BusySeconds) -> None:
        pass_stages(self._shown, busy)
        self._batch.stages(busy)

    def advance(self, count: int = 1) -> None:
        self._shown.advance(count)
        self._batch.advance(count)

    def say(self, message: str) -> None:
        self._shown.say(message)
        self._batch.say(message)

    def finish(self) -> None:
        self._shown.finish()
        self._batch.finish()


def recorded(work: _Command) -> _Command:
    """Give a command the options of `BatchOptions`, and begin its record before it works."""

    @functools.wraps(work)
    def call(*arguments: Any, **values: Any) -> Any:
        for name in vars(BatchOptions()):
            values.pop(name)
        current_batch().begin()
        return work(*arguments, **values)

    # Before the other options, so that an error of these is recorded.
    return flags.of(BatchOptions, is_eager=True, callback=_keep)(call)  # type: ignore[return-value]


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    batch = context.find_object(Batch)
    if value is not None and batch is not None and not context.resilient_parsing:
        batch.take(_verb(context), str(parameter.name), value)
    return value


def _verb(context: click.Context) -> str:
    return context.command_path.partition(" ")[2]


def current_batch() -> Batch:
    """Return the record of the running command, or an empty one."""
    context = click.get_current_context(silent=True)
    return (context and context.find_object(Batch)) or Batch()


def say(message: str) -> None:
    """Print what a command tells about its result on stderr, and record it."""
    click.echo(message, err=True)
    current_batch().outcome(message)


def results(paths: Iterable[Path | str]) -> None:
    """Record where the results of the running command are."""
    current_batch().results(paths)


def _warn(message: str) -> None:
    click.echo(f"featx: warning: {message}", err=True)


def _refused(option: str, target: Path, opened: Callable[[], Any]) -> Any:
    try:
        return opened()
    except (OSError, FeatxError) as error:
        reason = getattr(error.__cause__ or error, "strerror", None) or error
        raise ConfigError(f"--{option} {target}: cannot be written: {reason}; give another file") from error


def _appended(target: Path) -> BinaryIO:
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.open("ab", buffering=0)


def _try_place(target: Path) -> None:
    if str(target) == "-":
        return
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    with aside_folder(target):
        pass
