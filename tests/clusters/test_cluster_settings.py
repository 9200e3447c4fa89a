"""Options of scripts: nothing that would be another line or word of a script is taken."""

from __future__ import annotations

from typing import Any

import pytest

from featx.clusters import KubernetesSettings, SlurmSettings
from featx.errors import ConfigError

IMAGE = "registry.example.org/featx:0.1.0"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"partition": "gpu\n#SBATCH --wrap=x"}, "'partition'"),
        ({"partition": "gpu short"}, "'partition'"),
        ({"account": "a;b"}, "'account' parameter must be a name. Got 'a;b'"),
        ({"walltime": "soon"}, "'walltime' parameter must be minutes, HH:MM:SS or DAYS-HH:MM:SS"),
        ({"walltime": "1:00:00\n"}, "'walltime'"),
        ({"interface": "ib0 --preload x"}, "'interface'"),
        ({"folder": "a\nb"}, "'folder' parameter must be a path without line breaks"),
        ({"environment": "a\nb"}, "'environment'"),
        ({"nodes": 0}, "'nodes'"),
        ({"cores": 0}, "'cores'"),
        ({"memory_gib": 0}, "'memory_gib'"),
        ({"form": "array"}, "needs the options of `featx extract`"),
        ({"form": "array", "extract": "-m x", "nodes": 2}, "one node, one worker and at most one GPU"),
        ({"form": "array", "extract": "-m x", "gpus": 2}, "one node, one worker and at most one GPU"),
        ({"extract": "-m x"}, "--extract and --train are for --form array"),
        ({"gpus": 4, "workers": 2}, "Each worker has one GPU. Got 2 workers and 4 GPUs"),
        ({"queue": "gpu"}, "Unknown parameter 'queue'"),
    ],
)
def test_slurm(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SlurmSettings.make(given)


@pytest.mark.parametrize("walltime", ["90", "1:00:00", "30:00", "7-00:00:00"])
def test_walltimes_of_slurm(walltime: str) -> None:
    assert SlurmSettings(walltime=walltime).walltime == walltime


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "'image' parameter is required"),
        ({"image": "a b"}, "'image'"),
        ({"image": IMAGE, "name": "Featx"}, "'name'"),
        ({"image": IMAGE, "name": "a: b"}, "'name'"),
        ({"image": IMAGE, "storage": "100"}, "'storage' parameter must be a size such as 100Gi"),
        ({"image": IMAGE, "storage_class": "a\nb"}, "'storage_class'"),
        ({"image": IMAGE, "gpus": 2}, "Each worker has one GPU"),
    ],
)
def test_kubernetes(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        KubernetesSettings.make(given)


@pytest.mark.parametrize(
    ("given", "wanted"), [({}, 1), ({"gpus": 4}, 4), ({"workers": 3}, 3), ({"gpus": 2, "workers": 2}, 2)]
)
def test_one_worker_for_each_gpu(given: dict[str, int], wanted: int) -> None:
    assert SlurmSettings.make(given).workers_on_node == wanted
