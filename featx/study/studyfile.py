"""Study files: data sets, tasks, protocols and arms, declared in TOML (or YAML) and checked key by key.

A study of one's own::

    name = "mine"
    backbones = ["mobilenet_v2", "resnet50"]

    [targets.lesions]
    manifest = "lesions.csv"
    tasks = ["melanoma:rest"]

    [arms.frozen]
    weights = "imagenet"

    [arms.fine-tuned]
    weights = "imagenet"
    finetune = true

Paths in a file are relative to the file; in a shipped study, to the current folder. The tables ``[extract]``,
``[finetune]`` and ``[svm]`` hold options of those verbs, ``[weights.NAME]`` a weights source for each backbone.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from featx.documents import parse_json, parse_toml, parse_yaml, read_text
from featx.errors import ConfigError, listing
from featx.study.schema import Arm, DataSet, Extract, Source, Study, Svm, SyntheticImages, Target

__all__ = ["KEPT", "is_study", "read_study", "shipped_studies"]

KEPT = "study.json"
"""The study as it was begun, in its folder of results."""

_ENDINGS = frozenset({".toml", ".yml", ".yaml"})
_PARSERS: dict[str, Callable[[str], Any]] = {".yml": parse_yaml, ".yaml": parse_yaml, ".json": parse_json}
_TABLES: dict[str, type[BaseModel]] = {
    "sources": Source,
    "targets": Target,
    "arms": Arm,
    "extract": Extract,
    "svm": Svm,
}


def shipped_studies() -> tuple[str, ...]:
    """Name the studies that come with featx.

    Returns
    -------
    tuple of str
        Names that `read_study` takes, sorted.

    Examples
    --------
    >>> "menegola2017" in shipped_studies()
    True
    """
    names = (item.name for item in (resources.files("featx.study") / "files").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def is_study(spec: Path | str) -> bool:
    """Tell whether something names a study rather than a folder of runs.

    Parameters
    ----------
    spec : Path or str
        What a user gave.

    Returns
    -------
    bool
        True for a name with a study file's ending, for a shipped study's name, and for a folder where a study was
        begun.

    Examples
    --------
    >>> is_study("mine.toml"), is_study("menegola2017"), is_study("reports/runs")
    (True, True, False)
    """
    path = Path(spec).expanduser()
    if path.is_dir():
        return (path / KEPT).is_file()
    return path.suffix in _ENDINGS or str(spec) in shipped_studies()


def read_study(
    spec: Study | Path | str,
    manifests: Mapping[str, Path | str] | None = None,
    *,
    allow_outside: bool = False,
) -> Study:
    """Read and check a study file.

    Parameters
    ----------
    spec : Study, Path or str
        A file (TOML, or YAML by its ending), the name of a shipped study, or the folder of a study that was begun.
    manifests : mapping of str to Path or str, optional
        Name of a source or target to the manifest to take instead of the file's.
    allow_outside : bool
        Whether paths in a file may lead out of its folder, as they are written.

    Returns
    -------
    Study
        With absolute paths.

    Raises
    ------
    ConfigError
        If there is no such file, or a key or value is bad; the message names the key.

    Examples
    --------
    >>> read_study("menegola2017").arms["D"].weights
    'imagenet'
    """
    if isinstance(spec, Study):
        return _with_manifests(spec, manifests or {}, spec.name)
    text, base, called = _find(str(spec))
    try:
        # What stands in the folder of a study that was begun was checked then, and has been made absolute.
        free = allow_outside or Path(called).name == KEPT or called in shipped_studies()
        context = {"base": base, "within": None if free else base}
        study = Study.model_validate(_parse(text, called), context=context)
    except ValidationError as error:
        raise ConfigError(f"study {called}: {'; '.join(map(_finding, error.errors()))}") from error
    return _with_manifests(study, manifests or {}, called)


def _find(spec: str) -> tuple[str, Path, str]:
    """Return a study's text, the folder that its paths are relative to, and what to call it."""
    if spec in shipped_studies():
        file = resources.files("featx.study") / "files" / f"{spec}.toml"
        return file.read_text(encoding="utf-8"), Path.cwd(), spec
    path = Path(spec).expanduser()
    path = path / KEPT if path.is_dir() else path
    try:
        return read_text(path), path.resolve().parent, str(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        known = ", ".join(shipped_studies())
        raise ConfigError(
            f"study {spec}: cannot be read ({reason}); give a study file or one of {known}"
        ) from error


def _parse(text: str, called: str) -> Any:
    parse: Callable[[str], Any] = _PARSERS.get(Path(called).suffix, parse_toml)
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigError(f"study {called}: cannot be read ({' '.join(str(error).split())})") from error


def _finding(item: Any) -> str:
    """Say a finding: the bad key, what is wrong, what was got, and the closest good key."""
    place = ".".join(str(part) for part in item["loc"] if part != "[key]")
    text = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        text = f"unknown key{_closest(item['loc'])}"
    elif item["type"] == "missing":
        text = "is missing"
    elif not isinstance(item["input"], Mapping):
        text += f", got {item['input']!r}"
    return f"`{place}`: {text}" if place else text


def _closest(place: tuple[int | str, ...]) -> str:
    table = (
        SyntheticImages
        if "drawn" in place
        else _TABLES.get(str(place[0]), Study)
        if len(place) > 1
        else Study
    )
    known = list(table.model_fields)
    near = difflib.get_close_matches(str(place[-1]), known, 1)
    return f"; did you mean `{near[0]}`?" if near else f"; known: {', '.join(known)}"


def _with_manifests(study: Study, manifests: Mapping[str, Path | str], called: str) -> Study:
    unknown = [name for name in manifests if name not in study.sources and name not in study.targets]
    if unknown:
        known = ", ".join([*study.sources, *study.targets])
        raise ConfigError(f"study {called}: no source or target {listing(unknown)}; known: {known}")

    def replaced(name: str, item: DataSet) -> DataSet:
        if name not in manifests:
            return item
        path = str(Path(manifests[name]).expanduser().resolve())
        return item.model_copy(update={"manifest": path, "root": None, "drawn": None})

    return study.model_copy(
        update={
            "sources": {name: replaced(name, item) for name, item in study.sources.items()},
            "targets": {name: replaced(name, item) for name, item in study.targets.items()},
        }
    )
