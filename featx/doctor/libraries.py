"""Checks of Python, featx, the libraries that it needs and the environment variables that it reads."""

from __future__ import annotations

import difflib
import platform
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from featx import __version__
from featx.machine import versions
from featx.options import PlaceOptions, options_of
from featx.zoo import WEIGHTS_DIR

from .check_rows import CheckContext, CheckRow, note, ok, problem

__all__ = [
    "check_environment_variables",
    "check_mandatory_libraries",
    "check_optional_libraries",
    "check_python",
]

# Extras of those who change featx; what users may install beside it is in the others.
_DEVELOPMENT = {"dev", "test"}
_KERAS_VARIABLES = ("KERAS_BACKEND", "KERAS_HOME", "CUDA_VISIBLE_DEVICES")


def check_python(context: CheckContext) -> Iterator[CheckRow]:
    """Check the versions of Python and featx."""
    found = platform.python_version()
    wanted = metadata.metadata("featx")["Requires-Python"] or ""
    if not SpecifierSet(wanted).contains(found, prereleases=True):
        yield problem(
            "Python",
            f"{found}; featx needs {wanted}",
            f"Make a virtual environment with Python {wanted} and install featx there.",
        )
    else:
        yield ok("Python", f"{found}, {platform.machine()}", {"version": found})
    installed = metadata.version("featx")
    if installed != __version__:
        yield note(
            "featx",
            f"{__version__} runs, but {installed} is installed",
            "Run `pip install` for featx again.",
            {"version": __version__},
        )
    else:
        yield ok("featx", __version__, {"version": __version__})


def check_mandatory_libraries(context: CheckContext) -> Iterator[CheckRow]:
    """Compare the versions of mandatory libraries with what featx requires."""
    wanted = [item for item in _requirements() if _applies(item)]
    found = versions(item.name for item in wanted)
    bad = list(_unsuitable(wanted, found))
    yield from bad
    numbers = {item.name: found[item.name] for item in wanted if item.name in found}
    yield ok(
        "libraries",
        f"{len(wanted) - len(bad)} of {len(wanted)} mandatory libraries are installed in a version that featx allows",
        numbers,
    )


def check_optional_libraries(context: CheckContext) -> Iterator[CheckRow]:
    """Compare the versions of optional libraries with what featx requires; one that is missing is no fault."""
    extras = set(metadata.metadata("featx").get_all("Provides-Extra") or ()) - _DEVELOPMENT
    mandatory = {item.name for item in _requirements() if _applies(item)}
    wanted = {
        item.name: (item, extra)
        for item in _requirements()
        for extra in sorted(extras)
        if item.name not in mandatory and _applies(item, extra)
    }
    found = {name: number for name, number in versions(wanted).items() if name in wanted}
    yield from _unsuitable([item for item, _ in wanted.values() if item.name in found], found)
    missing = [f"{name} (featx[{extra}])" for name, (_, extra) in wanted.items() if name not in found]
    texts = [", ".join(f"{name} {number}" for name, number in found.items()) or "none"]
    texts += [f"not installed: {', '.join(missing)}"] if missing else []
    yield ok("optional libraries", "; ".join(texts), found)


def _requirements() -> list[Requirement]:
    return [Requirement(text) for text in metadata.requires("featx") or ()]


def _applies(wanted: Requirement, extra: str = "") -> bool:
    if wanted.marker is None:
        return not extra
    return wanted.marker.evaluate({"extra": extra})


def _unsuitable(wanted: list[Requirement], found: dict[str, str]) -> Iterator[CheckRow]:
    for item in wanted:
        remedy = f"Run `pip install '{item.name}{item.specifier}'` in the environment of featx."
        if item.name not in found:
            yield problem(item.name, f"not installed; featx needs {item.specifier}", remedy)
        elif not item.specifier.contains(found[item.name], prereleases=True):
            yield problem(item.name, f"{found[item.name]}; featx needs {item.specifier}", remedy)


def check_environment_variables(context: CheckContext) -> Iterator[CheckRow]:
    """Name the environment variables that change what featx does, and those that look like a misspelt one."""
    known = {option.environment for option in options_of(PlaceOptions).values() if option.environment}
    known.add(WEIGHTS_DIR)
    given = context.environment
    for name in sorted(name for name in given if name.startswith("FEATX_") and name not in known):
        close = difflib.get_close_matches(name, known, 1) or sorted(known)
        yield note(
            name,
            "featx reads no variable of this name",
            f"Did you mean {' or '.join(close)}?",
            {"value": given[name]},
        )
    values = {name: given[name] for name in (*sorted(known), *_KERAS_VARIABLES) if name in given}
    shown = ", ".join(f"{name}={value}" for name, value in values.items())
    yield ok("environment", shown or "no variable of featx or Keras is set", values)
