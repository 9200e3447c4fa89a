"""The `featx` command: a group of verbs, one module each."""

from __future__ import annotations

import importlib
import io
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from featx import __version__
from featx.errors import FeatxError, InputError
from featx.process import Interrupted, interruptible, quieten_tensorflow

from .batch import Batch
from .flags import example
from .synonyms import explained

_INTERRUPTED = "interrupted; the same command resumes from what is finished"
_AT_ONCE = "interrupted twice, and ended at once; the same command resumes from what is finished"
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

# The commands by the step of a study in which they are used, in the order of the help. The module of a command has its
# name with underscores, and holds a click command of that name.
STEPS = {
    "Prepare data": ("data", "protocol"),
    "Extract, fine-tune and train": ("extract", "finetune", "train-svm"),
    "Report": ("report", "robustness", "saliency", "embedding", "results"),
    "Use on new images": ("finalize", "predict", "export", "card"),
    "Whole studies": ("study", "demo", "cluster"),
    "Networks, caches and the machine": ("zoo", "cache", "doctor"),
}
COMMANDS = tuple(sorted(name for names in STEPS.values() for name in names))


class _Verbs(click.Group):
    """A group that imports a verb's module when the verb is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the verbs."""
        return [name for names in STEPS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(importlib.import_module(f".{name}", __package__), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs by step."""
        width = max(map(len, COMMANDS))
        for step, names in STEPS.items():
            with formatter.section(step):
                formatter.write_dl([(name.ljust(width), self._summary(ctx, name)) for name in names])

    def _summary(self, ctx: click.Context, name: str) -> str:
        command = self.get_command(ctx, name)
        assert command is not None
        return command.get_short_help_str(limit=100)


@click.group(cls=_Verbs, context_settings=_CONTEXT, epilog=example("featx demo"))
@click.version_option(__version__, prog_name="featx")
@click.option("--debug", is_flag=True, help="Show the traceback of an error, and the messages of TensorFlow.")
def featx(debug: bool) -> None:
    """Which pre-trained network, transferred how, separates my classes best?

    Extract features of images with pre-trained networks of the Keras zoo, fine-tune the networks, train linear SVMs
    on the features with cross-validated C, and report AUC with confidence intervals.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 work failed, 2 bad input, 130 interrupted (143 by SIGTERM, 129 by SIGHUP)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(given))


def run(arguments: list[str]) -> int:
    """Run the command line."""
    debug = "--debug" in arguments
    _let_any_name_out()
    if odd := [argument for argument in arguments if not _plain(argument)]:
        _fail(InputError(f"{odd[0]!r} is not UTF-8; rename that file or folder"), debug)
        return InputError.exit_code
    # TensorFlow's start-up notes would bury the one line that an error has.
    quieten_tensorflow(debug)
    # `--debug` is taken anywhere on the line, since it is added when a command has just failed.
    rest = [argument for argument in arguments if argument != "--debug"]
    batch = Batch(rest)
    with interruptible(lambda number: batch.end(128 + number, _AT_ONCE)):
        code, error = _worked(rest, batch, debug)
        batch.end(code, error)
    return code


def _worked(arguments: list[str], batch: Batch, debug: bool) -> tuple[int, str]:
    """Run a command; return its exit code, and the line about its error that was printed."""
    try:
        result: Any = featx.main(arguments, prog_name="featx", standalone_mode=False, obj=batch)
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        return _interrupted(error)
    except click.UsageError as error:
        told = explained(error)
        if error.ctx is not None:
            batch.take_unparsed(error.ctx, arguments)
        hint = f" (see {error.ctx.command_path} -h)" if error.ctx else ""
        return error.exit_code, _print_error(f"{told.format_message()}{hint}")
    except click.ClickException as error:
        error.show()
        return error.exit_code, error.format_message()
    except FeatxError as error:
        return error.exit_code, _fail(error, debug)
    except Exception as error:
        return 1, _fail(error, debug)
    return (result if isinstance(result, int) else 0), ""


def _plain(text: str) -> bool:
    """Tell whether a text from the system is UTF-8: bytes that are not stand in it as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _let_any_name_out() -> None:
    """Let names that are not UTF-8 through to stdout as the bytes that they are, and to stderr as escapes."""
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _interrupted(error: BaseException) -> tuple[int, str]:
    """Say that the work was interrupted; 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    # click wraps a KeyboardInterrupt, and ends the line of the terminal.
    cause = error.__cause__ or error
    click.echo(f"featx: {_INTERRUPTED}", err=True)
    return 128 + (cause.number if isinstance(cause, Interrupted) else signal.SIGINT), _INTERRUPTED


def _fail(error: Exception, debug: bool) -> str:
    if debug:
        traceback.print_exception(error)
    text = " ".join(str(error).split()) or type(error).__name__
    unforeseen = "" if isinstance(error, FeatxError) else f"{type(error).__name__}: "
    hint = "" if debug or isinstance(error, FeatxError) else " (--debug shows where)"
    return _print_error(f"{unforeseen}{text}{hint}")


def _print_error(line: str) -> str:
    click.echo(f"featx: error: {line}", err=True)
    return line
