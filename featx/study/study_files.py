"""Study files: where they are, how they are read, and what is given beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from featx.documents import parse_json, parse_toml, parse_yaml, read_text
from featx.errors import ConfigError, listing

from .schema import Arm, DataSet, SourceData, Study, SyntheticImages, TargetData, nearest

__all__ = ["KEPT", "is_study", "read_study", "shipped_studies"]

KEPT = "study.json"
"""The study as it was begun, in its folder of results."""

_IMAGENET = "imagenet"
_ENDINGS = frozenset({".toml", ".yml", ".yaml"})
_PARSERS: dict[str, Callable[[str], Any]] = {".yml": parse_yaml, ".yaml": parse_yaml, ".json": parse_json}
_TABLES: dict[str, type[BaseModel]] = {
    "sources": SourceData,
    "targets": TargetData,
    "arms": Arm,
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
    weights: Mapping[str, Path | str] | None = None,
    allow_outside: bool = False,
) -> Study:
    """Read and check a study file.

    Parameters
    ----------
    spec : Study, Path or str
        A file (TOML, or YAML by its ending), the name of a shipped study, or the folder of a study that was begun.
    manifests : mapping of str to Path or str, optional
        Name of a source or target to the manifest to take instead of the file's.
    weights : mapping of str to Path or str, optional
        Name of a backbone to the weights file to take for its ImageNet weights.
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
        return _with_paths(spec, manifests or {}, weights or {}, spec.name)
    text, base, called = _find(str(spec))
    try:
        # What stands in the folder of a study that was begun was checked then, and has been made absolute.
        free = allow_outside or Path(called).name == KEPT or called in shipped_studies()
        context = {"base": base, "within": None if free else base}
        study = Study.model_validate(_parse(text, called), context=context)
    except ValidationError as error:
        raise ConfigError(f"study {called}: {'; '.join(map(_finding, error.errors()))}") from error
    return _with_paths(study, manifests or {}, weights or {}, called)


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
    return nearest(str(place[-1]), list(table.model_fields))


def _with_paths(
    study: Study,
    manifests: Mapping[str, Path | str],
    weights: Mapping[str, Path | str],
    called: str,
) -> Study:
    """Take the manifests and weights that were given instead of those of the file."""
    _refuse_unknown(called, "source or target", manifests, [*study.sources, *study.targets])
    _refuse_unknown(called, "backbone", weights, study.backbones)
    _refuse_idle(called, study, weights)

    def replaced(name: str, item: DataSet) -> DataSet:
        if name not in manifests:
            return item
        return item.model_copy(update={"manifest": _absolute(manifests[name]), "root": None, "drawn": None})

    table = {**study.weights.get(_IMAGENET, {}), **{name: _absolute(path) for name, path in weights.items()}}
    return study.model_copy(
        update={
            "sources": {name: replaced(name, item) for name, item in study.sources.items()},
            "targets": {name: replaced(name, item) for name, item in study.targets.items()},
            "weights": {**study.weights, **({_IMAGENET: table} if table else {})},
        }
    )


def _refuse_unknown(called: str, what: str, given: Iterable[str], known: Sequence[str]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ConfigError(
            f"study {called}: no {what} {listing(unknown)}; known: {', '.join(known) or 'none'}"
        )


def _refuse_idle(called: str, study: Study, weights: Iterable[str]) -> None:
    """Refuse weights for backbones that no arm runs with ImageNet weights: they would change nothing."""
    arms = [name for name, arm in study.arms.items() if arm.has_network and arm.weights == _IMAGENET]
    taken = {backbone for name in arms for backbone in study.backbones_of(name)}
    idle = [name for name in weights if name not in taken]
    if idle:
        raise ConfigError(
            f"study {called}: no arm has ImageNet weights of {listing(idle)}, in whose place --weights puts a file; leave "
            "it out, or name the file in a table [weights.NAME] of the study file and NAME in `weights` of an arm"
        )


def _absolute(path: Path | str) -> str:
    return str(Path(path).expanduser().resolve())
