"""Printed scripts are scripts, values stay single words, and manifests have what Kubernetes asks for."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from featx.clusters import kubernetes_manifest, slurm_script
from featx.errors import ConfigError

ODD = 'it\'s $(touch here) `x` "q" & ; é.toml'
ARRAY = {"form": "array", "extract": "-m tiny", "array": 3}
EXTRACT = "-m tiny --arm 'my arm' -w \"$(touch here)\""
SCRIPTS: list[dict[str, Any]] = [
    {},
    {"gpus": 4, "nodes": 2, "partition": "gpu,long", "account": "lab", "interface": "ib0"},
    {"workers": 3, "cores": 2, "memory_gib": 1.5, "restarts": 0, "folder": ODD, "environment": ODD},
    ARRAY,
    {**ARRAY, "gpus": 1, "at_once": 2, "partition": "gpu", "account": "lab", "folder": ODD},
    {**ARRAY, "extract": EXTRACT, "train": "--arm 'my arm' --task a:b"},
]
IMAGE = "registry.example.org/featx:0.1.0"
MANIFESTS: list[dict[str, Any]] = [
    {"image": IMAGE},
    {"image": IMAGE, "workers": 3, "gpus": 1, "storage_class": "nfs", "storage": "2Ti", "name": "lesions"},
]


def directives(script: str) -> dict[str, str]:
    """Map the options of the #SBATCH lines, which end at the first command, to their values."""
    head = script.partition("\nset -euo")[0]
    assert "#SBATCH" not in script.partition("\nset -euo")[2]
    return dict(
        line.removeprefix("#SBATCH --").partition("=")[::2]
        for line in head.splitlines()
        if line.startswith("#SBATCH")
    )


@pytest.mark.parametrize("given", SCRIPTS)
@pytest.mark.parametrize("file", ["mine.toml", ODD])
def test_bash_reads_every_script(given: dict[str, Any], file: str) -> None:
    script = slurm_script(file, **given)
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert script.startswith("#!/bin/bash\n")
    assert script.endswith("\n")
    assert "{{" not in script
    assert "{%" not in script


@pytest.mark.parametrize("given", SCRIPTS)
def test_values_stay_words_of_their_own(given: dict[str, Any], tmp_path: Any) -> None:
    """The assignments of a script give bash the texts that were given, and run nothing."""
    lines = [
        line
        for line in slurm_script(ODD, **given).splitlines()
        if re.match(r"(STUDY|MANIFEST|EXTRACT|TRAIN)=", line)
    ]
    show = 'printf "%s\\0" "${STUDY-}${MANIFEST-}" "${EXTRACT[@]}" "${TRAIN[@]}"'
    done = subprocess.run(
        ["bash", "-c", "\n".join([*lines, show])], cwd=tmp_path, capture_output=True, check=True
    )
    words = [ODD, *shlex.split(given.get("extract", "")), *shlex.split(given.get("train", ""))]
    assert [word for word in done.stdout.decode().split("\0") if word] == words
    assert list(tmp_path.iterdir()) == []


def test_resources_of_a_job_with_workers() -> None:
    script = slurm_script(
        "mine.toml", nodes=2, gpus=4, cores=6, memory_gib=30, walltime="8:00:00", partition="gpu"
    )
    assert directives(script) == {
        "job-name": "featx",
        "nodes": "2",
        "ntasks-per-node": "4",
        "cpus-per-task": "6",
        "gpus-per-task": "1",
        "mem": "122880M",
        "time": "8:00:00",
        "partition": "gpu",
        "signal": "B:USR1@120",
        "requeue": "",
        "open-mode": "append",
        "output": "featx-%j.log",
    }
    assert "--resources GPU=1" in script
    assert "--resources" not in slurm_script("mine.toml")
    assert directives(slurm_script("mine.toml")).keys().isdisjoint({"gpus-per-task", "partition", "account"})


def test_resources_of_an_array() -> None:
    script = slurm_script("m.csv", **{**ARRAY, "at_once": 2, "gpus": 1, "account": "lab"})
    found = directives(script)
    assert (found["array"], found["ntasks-per-node"], found["gpus-per-task"]) == ("1-3%2", "1", "1")
    assert found["account"] == "lab"
    assert "--gpus-per-task=0" in script
    assert directives(slurm_script("m.csv", **ARRAY))["array"] == "1-3"
    assert "train-svm" not in slurm_script("m.csv", **ARRAY).partition("set -euo")[2].replace(
        "# Without --train", ""
    )


def test_workers_are_closed_to_strangers_and_listen_on_one_interface() -> None:
    for script, listen in (
        (slurm_script("s.toml"), '--host "$SLURMD_NODENAME"'),
        (slurm_script("s.toml", interface="ib0"), "--interface ib0"),
    ):
        for name in ("dask_scheduler", "dask_worker"):
            assert f"distributed.cli.{name} {listen} " in script
        assert script.count('"${http[@]}" "${tls[@]}"') == 2
        assert "\nhttp=(--no-dashboard --dashboard-address 127.0.0.1:0)\n" in script
        assert "--memory-limit 0" in script


@pytest.mark.parametrize(
    "given", [{**ARRAY, "extract": "-m 'tiny"}, {**ARRAY, "train": "'"}, {**ARRAY, "extract": "-m 'a\nb'"}]
)
def test_options_that_are_no_words_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"'(extract|train)' parameter must"):
        slurm_script("m.csv", **given)


def test_a_file_with_a_line_break_is_refused() -> None:
    for make in (lambda: slurm_script("a\nb"), lambda: kubernetes_manifest("a\nb", image=IMAGE)):
        with pytest.raises(ConfigError, match="line breaks"):
            make()


STAND_INS = {
    "env/bin/featx": "trap 'sleep 0.5; echo committed; exit 143' TERM\necho started\nwhile :; do sleep 0.1; done",
    "scontrol": 'echo "$@" >> calls',
}


@pytest.mark.parametrize(
    ("number", "everybody", "restarts", "calls"),
    [
        (signal.SIGUSR1, False, "3", "requeue 7\n"),
        (signal.SIGUSR1, False, "20", ""),
        (signal.SIGTERM, True, "0", ""),
    ],
    ids=["its time is over", "too many restarts", "cancelled"],
)
def test_a_signalled_job_waits_for_the_checkpoint(
    tmp_path: Path, number: int, everybody: bool, restarts: str, calls: str
) -> None:
    """SLURM sends USR1 to the script alone, and TERM to all processes of a job."""
    (tmp_path / "env" / "bin").mkdir(parents=True)
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    script = tmp_path / "job.sh"
    script.write_text(slurm_script("m.csv", **ARRAY, folder=tmp_path, environment=tmp_path / "env"))
    variables = {"ARRAY_TASK_ID": "2", "JOB_ID": "7", "CPUS_PER_TASK": "1", "RESTART_COUNT": restarts}
    job = subprocess.Popen(
        ["bash", script],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            **{f"SLURM_{name}": value for name, value in variables.items()},
        },
    )
    assert job.stdout is not None
    assert job.stdout.readline() == "started\n"
    (os.killpg if everybody else os.kill)(job.pid, number)
    assert job.communicate(timeout=30)[0] == "committed\n"
    assert job.returncode == 143
    assert (tmp_path / "calls").exists() == bool(calls)
    assert not calls or (tmp_path / "calls").read_text() == calls


def objects(**given: Any) -> dict[tuple[str, str], Any]:
    """Read a manifest: objects by kind and name."""
    found = list(yaml.safe_load_all(kubernetes_manifest(ODD, **given)))
    return {(item["kind"], item["metadata"]["name"]): item for item in found if item}


@pytest.mark.parametrize("given", MANIFESTS)
def test_objects_of_a_manifest(given: dict[str, Any]) -> None:
    name, found = given.get("name", "featx"), objects(**given)
    assert {key: item["apiVersion"] for key, item in found.items()} == {
        ("PersistentVolumeClaim", f"{name}-shared"): "v1",
        ("Service", f"{name}-scheduler"): "v1",
        ("NetworkPolicy", name): "networking.k8s.io/v1",
        ("Job", f"{name}-study"): "batch/v1",
        ("Job", f"{name}-workers"): "batch/v1",
    }
    claim = found["PersistentVolumeClaim", f"{name}-shared"]["spec"]
    assert claim["accessModes"] == ["ReadWriteMany"]
    assert claim["resources"]["requests"] == {"storage": given.get("storage", "100Gi")}
    assert claim.get("storageClassName") == given.get("storage_class")
    service = found["Service", f"{name}-scheduler"]["spec"]
    assert service["type"] == "ClusterIP"
    labels = found["Job", f"{name}-study"]["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert found["Job", f"{name}-workers"]["spec"]["parallelism"] == given.get("workers", 1)


@pytest.mark.parametrize("given", MANIFESTS)
def test_a_policy_lets_pods_of_the_study_in_and_nobody_else(given: dict[str, Any]) -> None:
    name, found = given.get("name", "featx"), objects(**given)
    policy = found["NetworkPolicy", name]["spec"]
    ours = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": name}}}
    assert policy["podSelector"] == ours["podSelector"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == [{"from": [ours]}]
    assert policy["egress"][0] == {"to": [ours]}
    assert {port["port"] for port in policy["egress"][1]["ports"]} == {53}
    assert len(policy["egress"]) == 2
    for job in ("study", "workers"):
        labels = found["Job", f"{name}-{job}"]["spec"]["template"]["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == name


@pytest.mark.parametrize("given", MANIFESTS)
@pytest.mark.parametrize("job", ["study", "workers"])
def test_pods_have_few_rights_and_all_they_mount(given: dict[str, Any], job: str) -> None:
    name = given.get("name", "featx")
    pod = objects(**given)["Job", f"{name}-{job}"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["automountServiceAccountToken"] is False
    assert pod["restartPolicy"] == "OnFailure"
    assert pod["terminationGracePeriodSeconds"] == 120
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["image"] == IMAGE
    assert {mount["name"] for mount in container["volumeMounts"]} == {item["name"] for item in pod["volumes"]}
    secret = next(item["secret"] for item in pod["volumes"] if "secret" in item)
    assert secret == {"secretName": f"{name}-tls", "defaultMode": 0o440}
    gpu = {key: value for key, value in container["resources"]["limits"].items() if "gpu" in key}
    assert gpu == ({"nvidia.com/gpu": 1} if job == "workers" and given.get("gpus") else {})
    assert "hostNetwork" not in pod
    assert "ports" not in container


def test_pods_answer_http_inside_only() -> None:
    found = objects(image=IMAGE)
    study, workers = (
        found["Job", f"featx-{job}"]["spec"]["template"]["spec"]["containers"][0]
        for job in ("study", "workers")
    )
    assert "--no-dashboard --dashboard-address 127.0.0.1:0" in study["command"][2]
    assert {"--no-dashboard", "--dashboard-address=127.0.0.1:0"} <= set(workers["args"])


def test_bash_reads_the_script_of_the_manifest() -> None:
    pod = objects(image=IMAGE)["Job", "featx-study"]["spec"]["template"]["spec"]
    shell, flag, script = pod["containers"][0]["command"]
    assert (shell, flag) == ("bash", "-c")
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    line = next(line for line in script.splitlines() if line.startswith("featx study run"))
    assert shlex.split(line)[3] == ODD
