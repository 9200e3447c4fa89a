"""Reports in MLflow: one MLflow run for each arm and task, with parameters, metrics, the page and its tables."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx import __version__
from featx.digest import canonical, digest
from featx.errors import ConfigError
from featx.external import external_scores

from .series import Series
from .summary import main_class, measure
from .tables import Table, records

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

__all__ = ["DIGEST", "log_to_mlflow", "mlflow_client", "series_digest", "series_metrics", "series_params"]

DIGEST = "featx.digest"
"""Tag by which a logged arm is found again."""

_EXPERIMENT = "featx"
# MLflow allows these characters in names, and so many letters of a parameter in all its versions.
_NAME, _LONGEST = re.compile(r"[^\w\-. /]", re.ASCII), 500
_PLACE = ("task", "protocol", "arm")
# Names of images are for the report's readers, not for a server.
_LEFT_OUT = frozenset({"mistakes"})
# What a batch may hold.
_METRICS, _PARAMS = 1000, 100


def mlflow_client(uri: str) -> MlflowClient:
    """Open a tracking store.

    Raises
    ------
    ConfigError
        If MLflow is not installed, or has no store of this kind.
    """
    if uri.startswith("file:"):
        # Newer versions of MLflow open folders only where this is set; the URI asks for one.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise ConfigError(f"--mlflow: {error}; run `pip install 'featx[mlflow]'`") from error
    try:
        return MlflowClient(uri)
    except (MlflowException, ImportError) as error:
        raise ConfigError(
            f"--mlflow {uri}: {_first_line(error)}; give the address of a server, or file:FOLDER. Databases (sqlite:) need the "
            "whole of MLflow: `pip install mlflow`"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def log_to_mlflow(
    client: MlflowClient,
    series: Sequence[Series],
    tables: Sequence[Table],
    output: Path,
    files: Sequence[Path],
) -> tuple[int, int]:
    """Log a report; an arm that was logged before, with equal runs, is brought up to date instead.

    `files` are those below the folder `output` that every MLflow run gets. The experiment is that of the environment variable ``MLFLOW_EXPERIMENT_NAME``, else ``featx``.

    Returns
    -------
    new, known : int
        Number of MLflow runs that were made, and that existed.

    Raises
    ------
    ConfigError
        If the store cannot be reached or written. The report is written before.
    """
    from mlflow.exceptions import MlflowException

    new = 0
    try:
        experiment = _experiment(client)
        for item in series:
            mark = series_digest(item)
            found = client.search_runs([experiment], f"tags.`{DIGEST}` = '{mark}'", max_results=1)
            tags = {DIGEST: mark, "featx.version": __version__}
            name = f"{item.arm}, {item.task} ({item.protocol})"
            run = found[0] if found else client.create_run(experiment, tags=tags, run_name=name)
            new += not found
            _log_numbers(client, run, item, tables)
            for path in files:
                place = path.parent.relative_to(output).as_posix()
                client.log_artifact(run.info.run_id, str(path), None if place == "." else place)
            client.set_terminated(run.info.run_id)
    except (MlflowException, OSError) as error:
        raise ConfigError(
            f"--mlflow: {_first_line(error)}; the report is written to {output}, and nothing is logged twice if it is "
            "made again"
        ) from error
    return new, len(series) - new


def _experiment(client: MlflowClient) -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))


def _log_numbers(client: MlflowClient, run: MlflowRun, series: Series, tables: Sequence[Table]) -> None:
    """Log the parameters and metrics that the MLflow run lacks."""
    from mlflow.entities import Metric, Param

    now, name, known = int(time.time() * 1000), run.info.run_id, run.data.metrics
    params = [Param(key, value) for key, value in series_params(series).items() if key not in run.data.params]
    metrics = [
        Metric(key, value, now, 0)
        for key, value in series_metrics(series, tables).items()
        if known.get(key) != value
    ]
    if "auc_fold" not in known:
        folds = enumerate(measure(series, main_class(series)).auc)
        metrics += [Metric("auc_fold", value, now, step) for step, value in folds if math.isfinite(value)]
    for first in range(0, len(metrics), _METRICS):
        client.log_batch(name, metrics=metrics[first : first + _METRICS])
    for first in range(0, len(params), _PARAMS):
        client.log_batch(name, params=params[first : first + _PARAMS])


def series_digest(series: Series) -> str:
    """Return a digest of what decides the numbers of an arm: its runs, their external scores, and the version of featx."""
    external = [one.record.inputs() for run in series.runs for one in external_scores(run)]
    ids = [run.record.id for run in series.runs]
    return digest([__version__, series.arm, series.task, series.protocol, ids, canonical(external)])


def series_params(series: Series) -> dict[str, str]:
    """Return an arm's parameters: what all its runs have in common of recipe, settings and versions."""
    every = [
        {
            "arm": series.arm,
            "task": series.task,
            "protocol": series.protocol,
            "classes": ", ".join(series.classes),
            "folds": ", ".join(run.record.fold for run in series.runs),
            **dict(_flat("manifest", {key: run.record.manifest.get(key) for key in ("name", "digest")})),
            "seed": run.record.seed,
            **dict(_flat("features", run.record.features.get("recipe") or {})),
            **dict(_flat("settings", run.record.settings)),
            **dict(_flat("versions", run.record.versions)),
        }
        for run in series.runs
    ]
    shared = {key: value for key, value in every[0].items() if all(one.get(key) == value for one in every)}
    return {
        _NAME.sub("_", key): str(value)[:_LONGEST] for key, value in shared.items() if value not in (None, "")
    }


def _flat(prefix: str, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(f"{prefix}.{name}", item)
        else:
            yield f"{prefix}.{name}", item


def series_metrics(series: Series, tables: Sequence[Table]) -> dict[str, float]:
    """Return an arm's metrics: every number that the tables of a report have of it.

    Returns
    -------
    dict of str to float
        ``auc``, ``auc_low``, ``auc_high``, ``auc_sd`` and so on of the main table; of other tables ``TABLE.COLUMN``, with
        the texts that tell its rows apart.
    """
    found: dict[str, float] = {}
    for table in tables:
        if table.name in _LEFT_OUT or not {*_PLACE} <= {column.name for column in table.columns}:
            continue
        apart = [
            column.name
            for column in table.columns
            if column.text and column.name not in (*_PLACE, "warnings")
        ]
        for row in records(table):
            if (row["task"], row["protocol"], row["arm"]) != (series.task, series.protocol, series.arm):
                continue
            words = [str(row[name]) for name in apart if row[name]] if table.name != "auc" else []
            for name, value in row.items():
                if isinstance(value, int | float):
                    found[_metric(table.name, name, words)] = float(value)
    return found


def _metric(table: str, column: str, words: list[str]) -> str:
    if table == "auc":
        return "auc" if column == "mean" else f"auc_{column}"
    return _NAME.sub("_", ".".join([table, column, *words]))
