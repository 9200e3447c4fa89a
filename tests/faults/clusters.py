"""Kill, suspend and cut off the processes of a study on a cluster, and run it again where it has ended.

A fault is survived if the study or verb then ends with the bytes of a run on this machine that nobody disturbed, no job
was done again after it was done, and no process of a job is left. A driver that ends first must say so in one message, and
the same command must complete.

    python -m tests.faults.clusters [--kills 120] [--seed 0] [--only TEXT]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .cluster_bench import Bench, Cluster, Driver, harass
from .counts import Counts, told
from .disks import _mounted, may_mount
from .two_hosts import HOST_FAULTS, may_have_hosts

__all__ = ["FAULTS", "fault_all"]

_STAGES = ("", "finetune", "extract tiny random:0, skin", "svm tuned", "report")
_EVERY_SECONDS = {"study": 12.0, "extract": 4.0, "train-svm": 4.0}
_MOST_IN_A_RUN = 8


@dataclass(frozen=True)
class ClusterFault:
    """A kind of fault.

    Attributes
    ----------
    name : str
        For the table.
    do : callable
        Does it so many times and counts.
    share : float
        Its part of all faults.
    needs : tuple of str
        Libraries that it needs.
    """

    name: str
    do: Callable[[Bench, Cluster, Counts, int, random.Random], None]
    share: float
    needs: tuple[str, ...] = ("distributed",)


def _harassed(
    bench: Bench,
    counts: Counts,
    most: int,
    rng: random.Random,
    what: str,
    place: str,
    victims: Callable[[], list[int]],
    *,
    stages: tuple[str, ...] = _STAGES,
    number: int = signal.SIGKILL,
    mend: Callable[[], object] = lambda: None,
) -> None:
    """Run something again and again while signals hit its victims, until there were enough."""
    sent, rounds = 0, 0
    while sent < most:
        first = stages[rounds % len(stages)]
        bench.begin(what, first)
        mend()
        driver = bench.drive(what, place)
        now = harass(
            bench, driver, victims, min(most - sent, _MOST_IN_A_RUN), rng, _EVERY_SECONDS[what], number
        )
        where = what if what != "study" else f"study from {first or 'the start'}"
        bench.judge(counts, where, driver, lambda: bench.drive(what, place), now)
        sent, rounds = sent + now, rounds + 1
        if rounds > 3 * most:
            counts.wrong.append(f"{where}: no victim was found")
            return


def child_killed(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Kill worker processes of featx below Dask workers."""
    cluster.start()
    _harassed(bench, counts, most, rng, "study", cluster.place, bench.children)


def part_killed(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Kill worker processes that extract parts."""
    cluster.start()
    _harassed(bench, counts, most, rng, "extract", cluster.place, bench.children)


def fold_killed(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Kill worker processes that train SVMs."""
    cluster.start()
    _harassed(bench, counts, most, rng, "train-svm", cluster.place, bench.children)


def child_killed_here(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Kill worker processes of a study without an engine."""
    _harassed(bench, counts, most, rng, "study", "local", bench.children, stages=_STAGES[1:])


def worker_killed(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Kill the processes of Dask in which jobs are hosted; their nannies start others."""
    cluster.start()
    _harassed(bench, counts, most, rng, "study", cluster.place, cluster.workers, stages=_STAGES[1:])


def worker_told(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Tell nannies to leave, as a batch system does at the end of a job's time; others come."""

    def nannies() -> list[int]:
        cluster.start()
        return [nanny.pid for nanny in cluster.nannies]

    cluster.start()
    _harassed(
        bench, counts, most, rng, "study", cluster.place, nannies, number=signal.SIGTERM, mend=cluster.start
    )
    cluster.start()


def nanny_killed(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Kill nannies; other workers come late."""

    def nannies() -> list[int]:
        cluster.start()
        return [nanny.pid for nanny in cluster.nannies]

    cluster.start()
    _harassed(
        bench,
        counts,
        most,
        rng,
        "study",
        cluster.place,
        nannies,
        stages=("finetune", "svm"),
        mend=cluster.start,
    )
    cluster.start()


def scheduler_killed(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Kill the Dask scheduler; the driver has to say that it was lost, and a new cluster resumes."""
    for turn in range(most):
        cluster.start()
        bench.begin("study", _STAGES[1 + turn % 3])
        driver = bench.drive("study", cluster.place)
        _wait_for_job(bench, driver)
        driver.wait(rng.uniform(0, 10))
        assert cluster.scheduler is not None
        cluster.scheduler.kill()

        def again() -> Driver:
            cluster.start()
            return bench.drive("study", cluster.place)

        bench.judge(counts, "scheduler killed", driver, again)
    cluster.start()


def driver_killed(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Kill the driver several times in a row, then let the same command end."""
    _driver_ended(bench, cluster, counts, most, rng, signal.SIGKILL)


def driver_told(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Tell the driver to end: it stops its jobs at their next checkpoint, and exits with 143."""
    _driver_ended(bench, cluster, counts, most, rng, signal.SIGTERM)


def _driver_ended(
    bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random, number: int
) -> None:
    cluster.start()
    sent = turn = 0
    while sent < most:
        bench.begin("study", _STAGES[turn % 4])
        now = 0
        while now < min(4, most - sent):
            driver = bench.drive("study", cluster.place)
            # Half of them while a job runs, half at any moment.
            if rng.random() < 0.5:
                _wait_for_job(bench, driver)
            if driver.wait(rng.uniform(0, 15)) is not None:
                break
            driver.process.send_signal(number)
            now += 1
            if number == signal.SIGTERM and driver.wait(120) not in (143, -number, 0):
                counts.wrong.append(f"exit code {driver.process.poll()} after SIGTERM: {driver.said[-200:]}")
            driver.kill()
        bench.judge(counts, "driver ended", bench.drive("study", cluster.place), None, max(now, 1), code=0)
        sent, turn = sent + max(now, 1), turn + 1


def _wait_for_job(bench: Bench, driver: Driver, label: str = "") -> int | None:
    """Wait until a worker process is at work on a job; return the process."""
    found: list[int] = []

    def at_work() -> bool:
        living = set(bench.children())
        for path in bench.work.glob(f"reports/small/jobs/{label}*/worker"):
            with suppress(OSError, ValueError):
                found.append(json.loads(path.read_text())["pid"])
        found[:] = [number for number in found if number in living]
        return bool(found)

    driver.wait(120, at_work)
    return found[0] if found else None


def worker_late(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Give the cluster its first worker only when the study waits for one, then kill that one, and give another."""
    for _ in range(most):
        cluster.end()
        cluster.start(workers=0)
        bench.begin("study", "svm")
        driver = bench.drive("study", cluster.place)
        driver.wait(rng.uniform(5, 20))
        first = cluster.add_worker()
        _wait_for_job(bench, driver)
        first.kill()
        driver.wait(rng.uniform(0, 5))
        cluster.add_worker()
        bench.judge(counts, "late worker", driver)
    cluster.start()


def drivers_two(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Start a second driver of a study: refused while the first lives, and it resumes once that was killed."""
    for _ in range(most):
        cluster.start()
        bench.begin("study", "finetune")
        first = bench.drive("study", cluster.place)
        _wait_for_job(bench, first)
        second = bench.drive("study", cluster.place)
        code = second.wait(120)
        if (code != 1 and code != 2) or "another `featx study run` is running" not in second.said:
            counts.wrong.append(f"the second driver ends with {code}: {second.said[-200:]}")
        first.kill()
        bench.judge(counts, "second driver", bench.drive("study", cluster.place), code=0)


def child_suspended(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Suspend a fine-tuning process and its Dask worker until another has taken over, then let them go on."""
    for _ in range(most):
        cluster.start()
        bench.begin("study", "finetune")
        driver = bench.drive("study", cluster.place)
        child = _wait_for_job(bench, driver, "finetune")
        driver.wait(rng.uniform(0, 10))
        if child is None or not Path(f"/proc/{child}").exists():
            counts.wrong.append("no fine-tuning was found")
            continue
        group = [child, *_line_of(child)]
        for number in group:
            os.kill(number, signal.SIGSTOP)
        driver.wait(500)
        before = _bytes(bench)
        for number in group:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGCONT)
        limit = time.monotonic() + 40
        while Path(f"/proc/{child}").exists() and child in bench.children() and time.monotonic() < limit:
            time.sleep(0.2)
        changed = sorted(name for name, text in _bytes(bench).items() if before.get(name) != text)
        if driver.process.poll() is None:
            counts.hung.append("the study does not end while a machine is suspended")
            bench.end_all()
        elif child in bench.children():
            counts.wrong.append("the suspended process goes on with the job that another has done")
        elif changed:
            counts.wrong.append(f"the suspended process has written {changed[0]}")
        else:
            bench.judge(counts, "suspended", driver)
    cluster.end()
    cluster.start()


def _line_of(number: int) -> list[int]:
    """List a process's parent and grandparent: the Dask worker and its nanny."""
    found = []
    for _ in range(2):
        number = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(number)
    return found


def _bytes(bench: Bench) -> dict[str, bytes]:
    """Read what a study has written, but for logs, in which the suspended process may say that it ends."""
    return {
        str(path): path.read_bytes()
        for path in (bench.work / "reports").rglob("*")
        if path.is_file() and path.name != "log.txt"
    }


def disk_full(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Let the shared disk be too small; the study says so, and completes when there is room."""
    if not may_mount():
        return
    for turn in range(most):
        cluster.start()
        bench.begin("study", ("", "finetune")[turn % 2])
        size = sum(4096 * -(-path.stat().st_size // 4096) for path in bench.work.rglob("*") if path.is_file())
        kept = bench.folder / "kept"
        subprocess.run(["rm", "-rf", str(kept)], check=True)
        bench.work.rename(kept)
        bench.work.mkdir()
        # Room for the template, and for less than what the study writes.
        with _mounted(bench.work, size + (160 << 10) + rng.randrange(1 << 18)) as grow:
            subprocess.run(["cp", "-a", f"{kept}/.", str(bench.work)], check=True)
            bench.look_anew()
            driver = bench.drive("study", cluster.place)
            if driver.wait() == 0:
                counts.wrong.append("the disk was never full")

            def again() -> Driver:
                grow()
                return bench.drive("study", cluster.place, "--retry-failed")

            bench.judge(counts, "shared disk full", driver, again)
            bench.left()
        subprocess.run(["rm", "-rf", str(kept), str(bench.work)], check=True)


def scratch_full(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Let the disk for temporary files of a worker's machine be full, with and without featx's folder on it."""
    if not may_mount():
        return
    cluster.end()
    for turn in range(most):
        small = bench.folder / "small"
        small.mkdir(exist_ok=True)
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=2", "tmpfs", str(small)],
            check=True,
        )
        try:
            # One file more than the folder has no room.
            (small / ("other", f"featx-{os.getuid()}")[turn % 2]).mkdir()
            cluster.start(workers=0)
            for _ in range(2):
                cluster.add_worker(TMPDIR=str(small))
            bench.begin("study", "svm")
            bench.judge(counts, "temporary files' disk full", bench.drive("study", cluster.place))
            cluster.end()
            bench.left()
        finally:
            subprocess.run(["umount", "-l", str(small)], check=True)
    cluster.start()


def ray_killed(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Kill the processes of Ray in which jobs are hosted, not Ray's own, whose arguments name these too."""

    def hosts() -> list[int]:
        return [number for number, line in bench.ours().items() if line.startswith("ray::run_job")]

    _harassed(bench, counts, most, rng, "study", "ray", hosts, stages=("finetune", "svm"))


def ray_head_killed(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Kill the process that holds Ray's state; the driver has to say that the cluster was lost, and a new one resumes."""
    for _ in range(most):
        bench.begin("study", "finetune")
        driver = bench.drive("study", "ray")
        _wait_for_job(bench, driver, "finetune")
        for number in bench.having("gcs_server"):
            os.kill(number, signal.SIGKILL)
        bench.judge(counts, "Ray's head killed", driver, lambda: bench.drive("study", "ray"))


FAULTS = (
    ClusterFault("study on Dask, job's process killed", child_killed, 0.2),
    ClusterFault("extract --parts 3 on Dask, job's process killed", part_killed, 0.12),
    ClusterFault("train-svm on Dask, job's process killed", fold_killed, 0.12),
    ClusterFault("study on this machine, job's process killed", child_killed_here, 0.1),
    ClusterFault("Dask worker killed", worker_killed, 0.1),
    ClusterFault("Dask worker told to leave", worker_told, 0.04),
    ClusterFault("Dask nanny killed", nanny_killed, 0.03),
    ClusterFault("Dask scheduler killed", scheduler_killed, 0.02),
    ClusterFault("driver killed", driver_killed, 0.1),
    ClusterFault("driver told to end", driver_told, 0.03),
    ClusterFault("first Dask worker late and killed", worker_late, 0.01),
    ClusterFault("second driver, the first killed", drivers_two, 0.01),
    ClusterFault("machine suspended, taken over, and back", child_suspended, 0.01),
    ClusterFault("shared disk full", disk_full, 0.02),
    ClusterFault("disk of temporary files full", scratch_full, 0.02),
    ClusterFault("Ray worker killed", ray_killed, 0.08, ("ray",)),
    ClusterFault("Ray head killed", ray_head_killed, 0.01, ("ray",)),
    *(ClusterFault(name, do, 0.01, ("distributed", "cryptography")) for name, do in HOST_FAULTS),
)


def fault_all(kills: int, seed: int = 0, only: str = "", place: Path | None = None) -> Iterator[Counts]:
    """Try each kind of fault whose name holds a text, its share of so many; in a folder that stays, if given."""
    named = [fault for fault in FAULTS if only.casefold() in fault.name.casefold()]
    numbers = {fault: max(round(kills * fault.share), int(bool(only))) for fault in named}
    chosen = [fault for fault in named if numbers[fault]]
    with tempfile.TemporaryDirectory(prefix="featx-faults-") as folder:
        bench = Bench(place or Path(folder))
        cluster = Cluster(bench)
        try:
            for fault in chosen:
                if why := _missing(fault):
                    print(f"{fault.name}: skipped, {why}", file=sys.stderr, flush=True)
                    continue
                counts = Counts(fault.name)
                try:
                    fault.do(bench, cluster, counts, numbers[fault], random.Random(seed))
                except Exception as error:
                    counts.wrong.append(f"{type(error).__name__}: {error}")
                counts.wrong += [f"left behind: {line[:120]}" for line in bench.left()[:1]]
                bench.end_all()
                yield counts
        finally:
            cluster.end()
            bench.close()


def _missing(fault: ClusterFault) -> str:
    """Say what a fault needs and this machine lacks."""
    for library in fault.needs:
        if importlib.util.find_spec(library) is None:
            return f"{library} is not installed"
    if fault.name in dict(HOST_FAULTS) and not may_have_hosts():
        return "network namespaces cannot be made here"
    if fault.do in (disk_full, scratch_full) and not may_mount():
        return "file systems cannot be mounted here"
    return ""


def main() -> int:
    """Try all faults and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="faults whose name holds this text")
    parser.add_argument(
        "--folder", type=Path, help="a folder that stays, so that the next call need not begin anew"
    )
    given = parser.parse_args()
    return told(fault_all(given.kills, given.seed, given.only, given.folder and given.folder.resolve()))


if __name__ == "__main__":
    sys.exit(main())
