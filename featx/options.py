"""Options of the verbs: each is written once, as a field of a frozen dataclass.

A field carries its type, bounds and help in its metadata. The keywords of the Python function, the flags of the
command line, the keys of configuration and study files, the checks and the reference in the docs are made from it.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Concatenate, ParamSpec, Self, TypeVar

from featx.errors import ConfigError
from featx.gpus import Device, parse_device, set_gpu_defaults
from featx.process import lower_priority
from featx.progress import Progress

__all__ = [
    "REQUIRED",
    "DeviceOptions",
    "FoldOptions",
    "ImageOptions",
    "Option",
    "Options",
    "PlaceOptions",
    "RunWeightsOptions",
    "TaskOptions",
    "WorkerOptions",
    "choice",
    "choices",
    "number",
    "numbers",
    "option_of",
    "options_of",
    "other",
    "path",
    "refuse_unknown",
    "switch",
    "text",
    "texts",
    "verb",
    "whole",
]


@dataclass(frozen=True)
class Option:
    """What is known of an option beside its name and default.

    Attributes
    ----------
    help : str
        One or two sentences for the command's help and the docs.
    kind : type
        ``int``, ``float``, ``str``, ``bool`` or ``Path``: of the value, or of each of its items.
    low, high : float
        Smallest and largest number allowed.
    open : bool
        Whether the bounds themselves are not allowed.
    values : tuple of str
        Texts allowed; empty for any.
    removed : mapping of str to str
        Texts that earlier versions allowed, each with the message for it.
    many : bool
        Whether the value is a tuple. On the command line the option is repeated.
    joined : bool
        Whether the command line takes the items of a tuple as one text, separated by commas.
    short : str
        Short form, such as ``-j``.
    flag : str
        Long form, if it is not the field's name with hyphens.
    off : str
        Long form that turns a switch off, if it is not ``no-`` and the long form.
    metavar : str
        What the help shows in place of the type.
    default_text : str
        What the help shows as default where the value is found at run time.
    environment : str
        Environment variable that gives the default on the command line.
    types : tuple of type
        Further types that a caller in Python may pass, as the value or as each of its items.
    command : bool
        Whether the command line has the option.
    """

    help: str
    kind: type = str
    low: float = -math.inf
    high: float = math.inf
    open: bool = False
    values: tuple[str, ...] = ()
    removed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    many: bool = False
    joined: bool = False
    short: str = ""
    flag: str = ""
    off: str = ""
    metavar: str = ""
    default_text: str = ""
    environment: str = ""
    types: tuple[type, ...] = ()
    command: bool = True

    @property
    def wanted(self) -> str:
        """What a value must be, in words."""
        if self.values:
            return f"{'some' if self.many else 'one'} of {', '.join(self.values)}"
        singular = {
            int: "a whole number",
            float: "a number",
            bool: "true or false",
            Path: "a path",
            str: "a text",
        }
        plural = {int: "whole numbers", float: "numbers", Path: "paths", str: "texts"}
        word = f"a list of {plural[self.kind]}" if self.many else singular.get(self.kind, self.kind.__name__)
        return word + self._bounds()

    def _bounds(self) -> str:
        if self.kind not in {int, float} or (self.low == -math.inf and self.high == math.inf):
            return ""
        if self.open:
            return f" between {self.low:g} and {self.high:g}"
        if self.high == math.inf:
            return f" of at least {self.low:g}"
        return f" from {self.low:g} to {self.high:g}"

    def converted(self, value: Any) -> Any:
        """Turn what TOML, a flag or a caller gives into the field's type where nothing is lost."""
        if self.many:
            items = [value] if isinstance(value, str | Path | int | float) else value
            return tuple(self._item(item) for item in items) if isinstance(items, Sequence) else value
        return self._item(value)

    def _item(self, value: Any) -> Any:
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if self.kind is Path and isinstance(value, str) and value:
            return Path(value)
        return value

    def allows(self, value: Any) -> bool:
        """Tell whether a converted value is of the option's type and within its bounds."""
        if self.many:
            return isinstance(value, tuple) and all(self._allows_item(item) for item in value)
        return self._allows_item(value)

    def _allows_item(self, value: Any) -> bool:
        if isinstance(value, self.types):
            return True
        if not isinstance(value, self.kind) or (isinstance(value, bool) and self.kind is not bool):
            return False
        if self.kind in {int, float}:
            number: Any = value
            inside = self.low < number < self.high if self.open else self.low <= number <= self.high
            return inside and math.isfinite(number)
        return value in self.values if self.values else (self.kind is not str or bool(value))


# The default of an option that must be given.
REQUIRED: Any = dataclasses.MISSING

_O = TypeVar("_O", bound="Options")
_P = ParamSpec("_P")
_Result = TypeVar("_Result")
_First = TypeVar("_First")


def _field(default: Any, option: Option) -> Any:
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata={"option": option})
    return dataclasses.field(default=default, metadata={"option": option})


def whole(default: Any, help: str, *, low: int, high: float = math.inf, **more: Any) -> Any:
    """Declare an option that is a whole number."""
    return _field(default, Option(help, int, low, high, **more))


def number(default: Any, help: str, *, low: float, high: float = math.inf, **more: Any) -> Any:
    """Declare an option that is a number."""
    return _field(default, Option(help, float, low, high, **more))


def choice(default: Any, values: Sequence[str], help: str, **more: Any) -> Any:
    """Declare an option that is one of some texts."""
    return _field(default, Option(help, str, values=tuple(values), **more))


def choices(default: Any, values: Sequence[str], help: str, **more: Any) -> Any:
    """Declare an option that is several of some texts."""
    return _field(default, Option(help, str, values=tuple(values), many=True, **more))


def text(default: Any, help: str, **more: Any) -> Any:
    """Declare an option that is any text but an empty one."""
    return _field(default, Option(help, str, **more))


def texts(default: Any, help: str, **more: Any) -> Any:
    """Declare an option that is several texts; the command line repeats it."""
    return _field(default, Option(help, str, many=True, **more))


def numbers(default: Any, help: str, *, low: float = -math.inf, high: float = math.inf, **more: Any) -> Any:
    """Declare an option that is several numbers; the command line takes them separated by commas."""
    return _field(default, Option(help, float, low, high, many=True, joined=True, **more))


def switch(default: Any, help: str, **more: Any) -> Any:
    """Declare an option that is on or off."""
    return _field(default, Option(help, bool, **more))


def path(default: Any, help: str, **more: Any) -> Any:
    """Declare an option that is a file or folder."""
    return _field(default, Option(help, Path, **more))


def other(default: Any, help: str, *types: type) -> Any:
    """Declare a keyword of the Python function alone, of types that no command line or file can give."""
    return _field(default, Option(help, object, types=types or (object,), command=False))


def option_of(field: dataclasses.Field[Any]) -> Option:
    """Return what is known of a field that `whole`, `text` or another of these functions declared."""
    option = field.metadata["option"]
    assert isinstance(option, Option)
    return option


@dataclass(frozen=True, kw_only=True)
class Options:
    """A verb's options: frozen, checked when they are made.

    A class may name `presets`: values of several fields under one name. Its option ``preset`` chooses one of them, and
    what is given beside it takes precedence.

    Raises
    ------
    ConfigError
        If a value is of the wrong type or out of its bounds.

    Examples
    --------
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Walk(Options):
    ...     steps: int = whole(10, "Number of steps.", low=1)
    >>> Walk.make({"steps": 3}).steps
    3
    """

    called: ClassVar[str] = ""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            option, value = option_of(item), getattr(self, item.name)
            if value is None and item.default is None:
                continue
            value = option.converted(value)
            object.__setattr__(self, item.name, value)
            if isinstance(value, str) and value in option.removed:
                raise ConfigError(f"Invalid value of the {item.name!r} parameter: {option.removed[value]}")
            if not option.allows(value):
                raise ConfigError(
                    f"The {item.name!r} parameter{self.called and ' of ' + self.called} must be {option.wanted}. "
                    f"Got {value!r} instead."
                )
        self.check()

    def check(self) -> None:
        """Check values that depend on each other; classes that have some override this."""

    @classmethod
    def make(cls, given: Mapping[str, Any]) -> Self:
        """Make options from what was given; everything else is the preset's, or the default.

        Parameters
        ----------
        given : mapping of str to Any
            Field to value.

        Returns
        -------
        Options
            The options.

        Raises
        ------
        ConfigError
            For an unknown name (with the nearest known one), a missing or a bad value.
        """
        known = {item.name: item for item in dataclasses.fields(cls)}
        refuse_unknown(given, known, cls.called)
        missing = [
            name for name, item in known.items() if item.default is dataclasses.MISSING and name not in given
        ]
        if missing:
            raise ConfigError(
                f"The {missing[0]!r} parameter is required: {option_of(known[missing[0]]).help}"
            )
        preset = cls.presets.get(str(given.get("preset", known["preset"].default)), {}) if cls.presets else {}
        return cls(**{**preset, **given})

    def part(self, kind: type[_O]) -> _O:
        """Return the fields that a class with some of these fields has, as an instance of it.

        Parameters
        ----------
        kind : type
            A dataclass of options.

        Returns
        -------
        Options
            An instance of `kind`.
        """
        return kind(**{item.name: getattr(self, item.name) for item in dataclasses.fields(kind)})


def refuse_unknown(given: Mapping[str, Any], known: Mapping[str, Any], called: str) -> None:
    """Refuse names that are not known, and suggest the nearest one.

    Parameters
    ----------
    given, known : mapping
        Names are the keys.
    called : str
        What the names are of, such as ``"training recipe 'paper'"``; may be empty.

    Raises
    ------
    ConfigError
        For the first unknown name.
    """
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
            raise ConfigError(f"Unknown parameter {name!r}{called and ' of ' + called}; {hint}")


def options_of(kind: type[Options]) -> dict[str, Option]:
    """Return the options of a class by the names of their fields, in order."""
    return {item.name: option_of(item) for item in dataclasses.fields(kind)}


def verb(
    options: Callable[_P, _O],
) -> Callable[[Callable[[_First, _O], _Result]], Callable[Concatenate[_First, _P], _Result]]:
    """Make a function of one object and options into one of that object and keywords.

    Parameters
    ----------
    options : type
        A dataclass of options. Its fields become the keywords, typed, and the line ``{options}`` of the
        docstring is replaced by them.

    Returns
    -------
    callable
        A decorator.

    Examples
    --------
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Times(Options):
    ...     times: int = whole(2, "How often.", low=1)
    >>> @verb(Times)
    ... def repeat(word: str, options: Times) -> str:
    ...     return word * options.times
    >>> repeat("ha", times=3)
    'hahaha'
    """
    kind: Any = options

    def decorate(work: Callable[[_First, _O], _Result]) -> Callable[Concatenate[_First, _P], _Result]:
        @functools.wraps(work)
        def call(first: _First, /, *args: _P.args, **given: _P.kwargs) -> _Result:
            return work(first, kind.make(given))

        parameters = list(inspect.signature(work).parameters.values())[:1]
        returned = inspect.signature(work).return_annotation
        call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [*parameters, *_keywords(kind)], return_annotation=returned
        )
        if work.__doc__:
            call.__doc__ = work.__doc__.replace("    {options}\n", _described(kind))
        return call

    return decorate


def _keywords(kind: type[Options]) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            item.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if item.default is dataclasses.MISSING else item.default,
            annotation=item.type,
        )
        for item in dataclasses.fields(kind)
    ]


def _described(kind: type[Options]) -> str:
    """Describe the options as the Parameters section of a numpydoc docstring does."""
    lines = []
    for item in dataclasses.fields(kind):
        option = option_of(item)
        default = "" if item.default is dataclasses.MISSING else f", default {item.default!r}"
        values = "{" + ", ".join(map(repr, option.values)) + "}" if option.values else str(item.type)
        lines += [f"    {item.name} : {values}{default}"]
        lines += textwrap.wrap(_sentence(option), 110, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return "\n".join(lines) + "\n"


def _sentence(option: Option) -> str:
    return f"{option.help} Default: {option.default_text}." if option.default_text else option.help


@dataclass(frozen=True, kw_only=True)
class PlaceOptions(Options):
    """Where the images of a manifest are, and where what is known of them is cached."""

    root: Path | str | None = path(
        None, "Folder that the manifest's image paths are relative to and stay in."
    )
    allow_outside: bool = switch(
        False, "Follow image paths that lead out of their folder; for manifests that you trust."
    )
    cache: Path | str = path(Path("cache"), "Folder of caches.", environment="FEATX_CACHE")
    progress: Progress | None = other(None, "Receiver of progress and messages.")


@dataclass(frozen=True, kw_only=True)
class WorkerOptions(PlaceOptions):
    """How many workers share the work on the images."""

    workers: int | None = whole(
        None,
        "Number of workers: threads that load images or train folds. Results do not depend on it.",
        low=1,
        short="-j",
        default_text="number of cores",
    )


@dataclass(frozen=True, kw_only=True)
class ImageOptions(WorkerOptions):
    """How the images of a manifest are worked on."""

    overwrite: bool = switch(False, "Recompute and replace finished results.")
    keys: Mapping[str, str] | Path | str | None = path(
        None,
        "SHA-256 of images by absolute path, or a file of them (featx.images.write_keys); computed elsewhere and "
        "trusted: listed images are not read to find their key. Extraction and fine-tuning compare the key with the bytes "
        "that they decode; train_svm decodes no image, so that the listed keys decide which features it uses.",
        types=(Mapping,),
        command=False,
    )


@dataclass(frozen=True, kw_only=True)
class TaskOptions(Options):
    """What is predicted."""

    task: str | Path | Any = text(
        "labels",
        "Named task, TOML file, or POSITIVE:NEGATIVE with labels joined by + (NEGATIVE may be `rest`).",
        types=(object,),
    )
    strict_labels: bool = switch(
        False, "Refuse labels under `rest` that may be meant for another class, instead of warning."
    )
    seed: int = whole(0, "Random seed.", low=0)


@dataclass(frozen=True, kw_only=True)
class FoldOptions(TaskOptions):
    """What is predicted, and on which folds."""

    protocol: str | Path = text(
        "5x2",
        "5x2 or any RxK, kfold:K, leave-one-group-out, bootstrap:B, holdout (the split column), none, canonical:NAME, "
        "or a fold file.",
        types=(Path,),
    )
    folds: Sequence[str] = texts((), "Run this fold only; may be repeated.", flag="fold")


@dataclass(frozen=True, kw_only=True)
class RunWeightsOptions(Options):
    """The weights of the network of a run, where those that its features name cannot be found."""

    weights: str | Path | None = text(
        None,
        "Weights source, as for `featx extract`.",
        short="-w",
        types=(Path,),
        default_text="as recorded by the feature store in the cache",
    )


@dataclass(frozen=True, kw_only=True)
class DeviceOptions(Options):
    """Where networks run, and how much of a shared machine they take. None of it decides a value."""

    device: str = text(
        "auto",
        "auto, cpu, gpu, gpu:N (the N-th that this process may use, from 0) or gpu:any (the one with most free memory). "
        "auto: extraction runs as with gpu:any where there is a GPU, else on the CPU; fine-tuning on all GPUs, else on "
        "the CPU.",
    )
    wait_gpu: int | None = whole(
        None,
        "Wait until a GPU has this much free memory, in MB of 2^20 bytes. Jobs of one user on one machine that wait "
        "start one by one, first come, first served. With --device auto, one GPU is used.",
        low=1,
        metavar="MB",
        default_text="no waiting",
    )
    gpu_memory: int | None = whole(
        None,
        "Most memory to take of each GPU, in MB of 2^20 bytes.",
        low=1,
        metavar="MB",
        default_text="no limit",
    )
    nice: int = whole(
        0,
        "Raise the nice value of the process to this, so that other processes go first on the CPU.",
        low=0,
        high=19,
    )
    own_process: bool = other(
        False,
        "Whether the process does nothing else, so that GPUs that are not used may be hidden from it.",
        bool,
    )

    def check(self) -> None:
        """Refuse a device that cannot be named, and waiting for a GPU that is not to be used."""
        super().check()
        wanted = self.wanted_device
        if wanted is not None and wanted.kind == "cpu" and (self.wait_gpu or self.gpu_memory):
            raise ConfigError(
                "The 'wait_gpu' and 'gpu_memory' parameters are for GPUs. Got device 'cpu'; leave them out, or give "
                "another device"
            )

    @property
    def wanted_device(self) -> Device | None:
        """The device, or None for any."""
        return parse_device(self.device)

    def begin(self) -> None:
        """Do at the start of a verb what has to come before any library uses a GPU."""
        lower_priority(self.nice)
        set_gpu_defaults()
