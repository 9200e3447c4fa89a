"""Content keys of many images, computed on a cluster before its jobs are planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from featx.data import read_manifest
from featx.images import content_keys, read_keys, write_keys
from featx.progress import Progress, Silent

from .job_state import State, StudyJob, locked
from .machines.places import Place
from .scheduler import Scheduler

__all__ = ["hash_part", "known_keys"]
_MANY = 20_000
_RETRIES = 2
_IMAGES_OF_A_PART = 5_000


def known_keys(
    place: Place,
    manifests: Sequence[Mapping[str, Any]],
    output: Path,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Find the content keys of the images of large manifests on a cluster, each part by another machine.

    Parameters
    ----------
    place : Place
        The cluster; one machine alone hashes its images where they are planned.
    manifests : sequence of mapping
        ``manifest``, ``root``, ``allow_outside`` and ``cache`` of each manifest.
    output : Path
        Folder for the jobs.
    progress : Progress, optional
        Receiver of progress.

    Returns
    -------
    dict of str to str
        Absolute path of each readable image to its key; empty for small manifests.
    """
    jobs = [] if place.whole else [job for given in manifests for job in _jobs(given, output)]
    if not jobs:
        return {}
    states = {job.digest: State("pending") for job in jobs}
    scheduler = Scheduler(place, output, states, retries=_RETRIES, progress=progress or Silent())
    # It must not take the place of a scheduler that runs the study.
    with locked(output), scheduler.on_duty():
        scheduler.do(jobs)
    return {
        path: key for job in scheduler.done for path, key in read_keys(Path(job.arguments["output"])).items()
    }


def _jobs(given: Mapping[str, Any], output: Path) -> list[StudyJob]:
    place = {name: given.get(name) for name in ("manifest", "root", "cache")}
    allow = bool(given.get("allow_outside"))
    images = len(read_manifest(str(place["manifest"]), root=place["root"], allow_outside=allow))
    parts = -(-images // _IMAGES_OF_A_PART) if images >= _MANY else 0
    name = Path(str(place["manifest"])).stem
    return [
        StudyJob(
            "hash",
            f"{name} {part + 1} of {parts}",
            {"manifest": place["manifest"], "part": [part, parts]},
            {
                **place,
                "allow_outside": allow,
                "part": [part, parts],
                "output": str(output.resolve() / f"keys-{name}-{part}-of-{parts}.csv"),
            },
            images=images // parts,
        )
        for part in range(parts)
    ]


def hash_part(
    manifest: str,
    *,
    root: str | None,
    cache: str,
    allow_outside: bool,
    part: Sequence[int],
    output: str,
    workers: int,
    progress: Progress,
) -> Path:
    """Write the content keys of one part of a manifest's images, every n-th one.

    Returns
    -------
    Path
        The file. Images that cannot be read are left out; the verbs report them.
    """
    paths = read_manifest(manifest, root=root, allow_outside=allow_outside).paths[part[0] :: part[1]]
    write_keys(output, content_keys(paths, cache=cache, workers=workers, progress=progress).keys)
    return Path(output)
