"""A SLURM of this machine alone, for tests: daemons, keys and files of its own, which end with the tests."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
BIN = Path(sys.executable).parent
WAIT_SECONDS = 900.0
CONF = """
ClusterName=featx
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=3600
GresTypes=gpu
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000 Gres=gpu:2 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
# Files in the place of two GPUs: SLURM gives each task its own, and nothing reads them.
GRES = "NodeName={host} Name=gpu File=/dev/null\nNodeName={host} Name=gpu File=/dev/zero\n"


@dataclass(frozen=True)
class Slurm:
    """A running SLURM.

    Attributes
    ----------
    environment : mapping
        Environment variables with which its commands find it, and featx is found.
    """

    environment: Mapping[str, str]

    def call(self, *command: str | Path, folder: Path | None = None) -> str:
        """Run a command of SLURM, or a script that calls some."""
        done = subprocess.run(
            command, cwd=folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def job(self, job: str) -> dict[str, str]:
        """Tell what SLURM knows of a job: JobState, Restarts, ..."""
        words = self.call("scontrol", "--oneliner", "show", "job", job).split()
        return dict(word.partition("=")[::2] for word in words)

    def wait(self, job: str, *states: str) -> str:
        """Wait until a job is in one of some states, and return it."""
        end = time.monotonic() + WAIT_SECONDS
        while (state := self.job(job)["JobState"]) not in states:
            said = f"job {job} is {state}, not {' or '.join(states)}"
            assert time.monotonic() < end, said
            assert state in {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING"}, said
            time.sleep(0.3)
        return state

    def run_now(self, job: str) -> None:
        """Start a job that was put back into the queue: SLURM lets it wait for two minutes otherwise.

        In the second in which it went back it must not start: what was allowed by then is revoked.
        """
        assert self.wait(job, "PENDING", "COMPLETED", "FAILED") == "PENDING"
        self.call("scontrol", "update", f"JobId={job}", "StartTime=now+3")
        self.wait(job, "RUNNING")


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def daemons(folder: Path) -> Iterator[list[str]]:
    """Name the daemons in the order of their start."""
    munge = {
        name: f"--{name}={folder}/munge.{name.removesuffix('-file')}"
        for name in ("key-file", "pid-file", "log-file", "seed-file", "socket")
    }
    yield ["munged", "--foreground", "--force", *munge.values()]
    yield ["slurmctld", "-D", "-f", f"{folder}/slurm.conf"]
    yield ["slurmd", "-D", "-f", f"{folder}/slurm.conf"]


def write_settings(folder: Path) -> None:
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(1024))
    (folder / "slurm.conf").write_text(CONF.format(host=host, folder=folder, ports=free_ports(2)))
    (folder / "gres.conf").write_text(GRES.format(host=host))


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """Start a SLURM, or skip where there is none or it cannot be started."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no {missing[0]}: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("slurmd runs as root only")
    # Not below pytest's folder: the path of a socket has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="featx-slurm-"))
    write_settings(folder)
    environment = {
        **os.environ,
        "SLURM_CONF": f"{folder}/slurm.conf",
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    started: list[subprocess.Popen[bytes]] = []
    made = Slurm(environment)
    try:
        for command in daemons(folder):
            with (folder / f"{command[0]}.out").open("wb") as out:
                started.append(subprocess.Popen(command, stdout=out, stderr=out, env=environment))
            wait_for(folder, command[0], made)
        yield made
    finally:
        stop(made, started)
        shutil.rmtree(folder)


def wait_for(folder: Path, name: str, slurm: Slurm) -> None:
    """Wait until a daemon answers."""
    end = time.monotonic() + 60
    while True:
        if name == "munged" and (folder / "munge.socket").exists():
            return
        with suppress(AssertionError):
            if name == "slurmctld" and slurm.call("scontrol", "ping"):
                return
            if name == "slurmd" and "idle" in slurm.call("sinfo", "--noheader", "--format=%T"):
                return
        logs = " ".join(
            path.read_text()[-2000:] for path in folder.glob(f"{name}.*") if path.suffix in {".out", ".log"}
        )
        assert time.monotonic() < end, f"{name} does not answer: {logs}"
        time.sleep(0.2)


def stop(slurm: Slurm, started: list[subprocess.Popen[bytes]]) -> None:
    """End all jobs, then the daemons, the last one first."""
    with suppress(AssertionError):
        slurm.call("scancel", "--user=root")
        end = time.monotonic() + 60
        while slurm.call("squeue", "--noheader") and time.monotonic() < end:
            time.sleep(0.3)
    for process in reversed(started):
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
