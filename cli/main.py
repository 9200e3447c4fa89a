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

from .synonyms import explained

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

# verb: module of this package that holds a click command of the same name.
COMMANDS = {
    "cache": "cache",
    "data": "data",
    "demo": "demo",
    "extract": "extract",
    "finetune": "finetune",
    "protocol": "protocol",
    "report": "report",
    "saliency": "saliency",
    "study": "study",
    "train-svm": "train_svm",
    "zoo": "zoo",
}


class _Verbs(click.Group):
    """A group that imports a verb's module when the verb is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the verbs."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name]}", __package__)
        command = getattr(module, COMMANDS[cmd_name])
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Verbs, context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="featx")
@click.option("--debug", is_flag=True, help="Show the traceback of an error, and TensorFlow's own notes.")
def featx(debug: bool) -> None:
    """Which pre-trained network, transferred how, separates my classes best?

    Extract penultimate-layer features of images with networks of the Keras zoo, train linear SVMs on them
    with cross-validated C, fine-tune the networks, and report AUC with honest intervals.
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
        return _fail(
            InputError(f"{odd[0]!r} is not UTF-8; rename that file or folder"), InputError.exit_code, debug
        )
    # TensorFlow's start-up notes would bury the one line that an error has.
    quieten_tensorflow(debug)
    # `--debug` is taken anywhere on the line, since it is added when a command has just failed.
    rest = [argument for argument in arguments if argument != "--debug"]
    try:
        with interruptible():
            result: Any = featx.main(rest, prog_name="featx", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        return _interrupted(error)
    except click.UsageError as error:
        explained(error).show()
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except FeatxError as error:
        return _fail(error, error.exit_code, debug)
    except Exception as error:
        return _fail(error, 1, debug)
    return result if isinstance(result, int) else 0


def _plain(text: str) -> bool:
    """Tell whether a text from the system is UTF-8: bytes that are not stand in it as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _let_any_name_out() -> None:
    """Let names that are not UTF-8 through to stdout as the bytes that they are, and to stderr as escapes."""
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _interrupted(error: BaseException) -> int:
    """Say that the work was interrupted; 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    # click wraps a KeyboardInterrupt, and ends the line of the terminal.
    cause = error.__cause__ or error
    click.echo("featx: interrupted; the same command resumes from what is finished", err=True)
    return 128 + (cause.number if isinstance(cause, Interrupted) else signal.SIGINT)


def _fail(error: Exception, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    text = " ".join(str(error).split()) or type(error).__name__
    unforeseen = "" if isinstance(error, FeatxError) else f"{type(error).__name__}: "
    hint = "" if debug or isinstance(error, FeatxError) else " (--debug shows where)"
    click.echo(f"featx: error: {unforeseen}{text}{hint}", err=True)
    return code
