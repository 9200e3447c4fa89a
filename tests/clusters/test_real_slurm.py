"""Printed scripts in a real SLURM on this machine."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from featx.data import draw_dermoscopy
from featx.features import FeatureStore, find_stores
from featx.runs import read_runs

from .conftest import BIN, WAIT_SECONDS, Slurm

pytestmark = pytest.mark.slow
# One image in a batch: the last bits of features depend on the other images in it.
EXTRACT = "-m tiny -w random --image-size 16 --engine keras -b 1 --arm plain"
TRAIN = "--arm plain --task melanoma:rest --protocol kfold:2 --inner-splits 2 --costs 0.1,1"
IMAGES = 40


def printed(slurm: Slurm, folder: Path, *arguments: str) -> Path:
    """Write the script that `featx cluster slurm` prints."""
    line = [
        BIN / "featx",
        "cluster",
        "slurm",
        *arguments,
        "--cores",
        "1",
        "--memory",
        "1",
        "--folder",
        folder,
    ]
    script = folder / "job.sh"
    script.write_text(slurm.call(*map(str, line), "--print") + "\n")
    return script


def featx(folder: Path, line: str) -> None:
    done = subprocess.run(
        [BIN / "featx", *line.split()], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def logs(folder: Path) -> str:
    return "\n".join(f"{path.name}:\n{path.read_text()}" for path in sorted(folder.glob("featx-*.log")))


def store(folder: Path) -> FeatureStore:
    (path,) = find_stores([folder / "cache" / "features"])
    return FeatureStore(path)


def rows(folder: Path) -> dict[str, bytes]:
    """Map the key of each stored image to the bytes of its features."""
    found = store(folder)
    keys = sorted(found.keys())
    return {key: row.tobytes() for key, row in zip(keys, found.read(keys), strict=True)}


def test_an_array_fills_one_store_and_trains(slurm: Slurm, tmp_path: Path) -> None:
    draw_dermoscopy(tmp_path / "derm", images=IMAGES, size=32)
    line = ["--form", "array", "--array", "3", "--at-once", "2", "--walltime", "20", "--gpus", "1"]
    script = printed(slurm, tmp_path, "derm/manifest.csv", *line, "--extract", EXTRACT, "--train", TRAIN)
    parts, last = (said.split()[-1] for said in slurm.call("bash", script, folder=tmp_path).split(", last"))
    assert slurm.wait(f"{last}_0", "COMPLETED", "FAILED", "CANCELLED") == "COMPLETED", logs(tmp_path)
    assert [slurm.job(f"{parts}_{part}")["JobState"] for part in (1, 2, 3)] == ["COMPLETED"] * 3
    assert len(store(tmp_path).blocks()) == 1, "the last job joins the blocks"
    # The same on this machine, without SLURM.
    alone = tmp_path / "alone"
    alone.mkdir()
    featx(alone, f"extract ../derm/manifest.csv {EXTRACT} -j 1")
    assert rows(tmp_path) == rows(alone)
    assert len(rows(alone)) == IMAGES
    featx(alone, f"train-svm ../derm/manifest.csv {TRAIN} -j 1")
    one, two = (read_runs(folder / "reports" / "runs").drop(columns="run") for folder in (tmp_path, alone))
    assert len(one) == IMAGES
    assert one.equals(two)


def stored(folder: Path) -> int:
    return (
        sum(len(FeatureStore(path).keys()) for path in find_stores([folder]))
        if any(folder.rglob("recipe.json"))
        else 0
    )


def interrupted(slurm: Slurm, job: str, folder: Path, *command: str) -> int:
    """Interrupt a running job until it has stored more than before; count the images stored. It then runs again."""
    before, seconds = stored(folder), 5.0
    while stored(folder) == before:
        # The log's end belongs to this attempt. What it computes is stored when it is interrupted.
        wait_until(lambda: "images to compute" in logs(folder).rpartition("featx: interrupted")[2])
        time.sleep(seconds)
        slurm.call(*command)
        slurm.run_now(job)
        seconds *= 1.5
    return stored(folder)


def test_a_job_that_goes_back_into_the_queue_resumes(slurm: Slurm, tmp_path: Path) -> None:
    images = 400
    draw_dermoscopy(tmp_path / "derm", images=images, size=32)
    # Many views of each image, so that there is time to interrupt.
    line = ["--form", "array", "--array", "1", "--extract", f"{EXTRACT} --views 100 -b 4"]
    script = printed(slurm, tmp_path, "derm/manifest.csv", *line)
    job = f"{slurm.call('sbatch', '--parsable', script, folder=tmp_path)}_1"
    slurm.wait(job, "RUNNING")
    # What SLURM does before the time is over; then when a job is preempted, or requeued by hand.
    first = interrupted(slurm, job, tmp_path, "scancel", "--batch", "--signal=USR1", job)
    second = interrupted(slurm, job, tmp_path, "scontrol", "requeue", job)
    assert 0 < first < second < images, logs(tmp_path)
    assert slurm.wait(job, "COMPLETED", "FAILED") == "COMPLETED", logs(tmp_path)
    assert stored(tmp_path) == images
    assert int(slurm.job(job)["Restarts"]) >= 2
    assert "its time is over; stopping at the next checkpoint" in logs(tmp_path)
    assert f"{images} images, {second} reused, {images - second} computed, 0 failed" in logs(tmp_path)


def test_a_cancelled_job_stops_at_a_checkpoint_and_stays_out(slurm: Slurm, tmp_path: Path) -> None:
    draw_dermoscopy(tmp_path / "derm", images=IMAGES, size=32)
    line = ["--form", "array", "--array", "1", "--extract", f"{EXTRACT} --views 2000"]
    script = printed(slurm, tmp_path, "derm/manifest.csv", *line)
    job = f"{slurm.call('sbatch', '--parsable', script, folder=tmp_path)}_1"
    slurm.wait(job, "RUNNING")
    wait_until(lambda: any(tmp_path.rglob("recipe.json")))
    slurm.call("scancel", job)
    wait_until(lambda: "featx: interrupted" in logs(tmp_path))
    assert "cancelled; stopping at the next checkpoint" in logs(tmp_path)
    assert slurm.wait(job, "CANCELLED", "PENDING") == "CANCELLED"
    assert slurm.job(job)["Restarts"] == "0"


def wait_until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.3)


PROBE = """
import os, sys
from distributed import Client, Security
folder = os.path.dirname(sys.argv[1])
both = {f"tls_{side}_{what}": f"{folder}/tls-{what}.pem" for side in ("client", "worker", "scheduler") for what in ("cert", "key")}
ours = Security(tls_ca_file=f"{folder}/tls-cert.pem", require_encryption=True, **both)
with Client(scheduler_file=sys.argv[1], security=ours) as client:
    client.wait_for_workers(2, timeout=120)
    found = client.run(lambda: (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["SLURM_PROCID"]))
    workers = client.scheduler_info()["workers"].values()
    print("GPUs", *sorted(gpu for gpu, _ in found.values()))
    print("slots", *(worker["nthreads"] for worker in workers), *(int(worker["resources"]["GPU"]) for worker in workers))
    address = client.scheduler.address
    print("scheme", *{address.partition(":")[0], *(name.partition(":")[0] for name in found)})
try:
    Client(address.replace("tls://", "tcp://"), timeout=5)
except OSError:
    print("plain TCP refused")
print("mode", oct(os.stat(folder).st_mode)[-3:])
"""


def test_the_workers_of_a_job_have_a_gpu_each_and_refuse_strangers(slurm: Slurm, tmp_path: Path) -> None:
    """With another program in the place of the study, which asks scheduler and workers."""
    pytest.importorskip("distributed")
    script = printed(slurm, tmp_path, "mine.toml", "--gpus", "2", "--walltime", "20")
    text, probe = script.read_text(), tmp_path / "probe.py"
    line = next(line for line in text.splitlines() if line.startswith("run featx study run"))
    assert line == 'run featx study run "$STUDY" --cluster "dask:$scheduler" --cores "$SLURM_CPUS_PER_TASK"'
    script.write_text(text.replace(line, 'run python -P probe.py "$scheduler"'))
    probe.write_text(PROBE)
    job = slurm.call("sbatch", "--parsable", script, folder=tmp_path)
    assert slurm.wait(job, "COMPLETED", "FAILED") == "COMPLETED", logs(tmp_path)
    said = (tmp_path / f"featx-{job}.log").read_text().splitlines()
    for wanted in ("GPUs 0 1", "slots 1 1 1 1", "scheme tls", "plain TCP refused", "mode 700"):
        assert wanted in said, logs(tmp_path)
    assert list((tmp_path / "featx-dask").iterdir()) == [], "the key is removed"


STUDY = """
name = "small"
backbones = ["tiny"]
[targets.lesions]
manifest = "derm/manifest.csv"
tasks = ["melanoma:rest"]
protocol = "kfold:2"
[arms.random]
weights = "random"
[arms.other]
weights = "random:1"
[extract]
image-size = 16
engine = "keras"
batch-size = 1
[svm]
costs = [0.1, 1]
inner-splits = 2
"""


def test_a_study_runs_on_the_workers_of_a_job(slurm: Slurm, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    if "--cluster" not in slurm.call(BIN / "featx", "study", "run", "--help"):
        pytest.skip("`featx study run` has no --cluster")
    draw_dermoscopy(tmp_path / "derm", images=IMAGES, size=32)
    (tmp_path / "small.toml").write_text(STUDY)
    script = printed(slurm, tmp_path, "small.toml", "--workers", "2", "--walltime", "20")
    job = slurm.call("sbatch", "--parsable", script, folder=tmp_path)
    assert slurm.wait(job, "COMPLETED", "FAILED", "CANCELLED") == "COMPLETED", logs(tmp_path)
    assert (tmp_path / "reports" / "small" / "report" / "lesions" / "report.html").exists()
    assert "0 failed, 0 not started" in logs(tmp_path)
    alone = tmp_path / "alone"
    alone.mkdir()
    featx(alone, "study run ../small.toml --workers 1")
    one, two = (
        read_runs(folder / "reports" / "small" / "runs").drop(columns="run") for folder in (tmp_path, alone)
    )
    assert len(one) == 2 * IMAGES
    order = ["arm", "fold", "id"]
    assert one.sort_values(order, ignore_index=True).equals(two.sort_values(order, ignore_index=True))
