"""A job: which images and networks are left, and what came of each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featx.digest import digest
from featx.errors import ExtractionError
from featx.features.passes import ExtractionJob, PassOutcome, PassWork, run_networks, try_networks
from featx.features.plan import NetworkPlan, missing_keys, shard_of
from featx.features.reading import ImageFile
from featx.features.results import Extraction, write_failures
from featx.images import content_keys

if TYPE_CHECKING:
    from featx.data import Manifest

__all__ = ["run_job"]


@dataclass(frozen=True)
class _Images:
    """Images of a manifest: (id, path, key) each, the key empty where the file cannot be read."""

    rows: tuple[tuple[str, str, str], ...]
    reasons: Mapping[str, str]  # path -> why it cannot be read

    def sources(self) -> dict[str, ImageFile]:
        """Give each key once, with the first image that has it."""
        found: dict[str, ImageFile] = {}
        for _, path, key in self.rows:
            if key and key not in found:
                found[key] = ImageFile(key, path)
        return found


def run_job(job: ExtractionJob, table: Manifest, wanted: Sequence[NetworkPlan]) -> tuple[Extraction, ...]:
    """Compute what the stores lack.

    Parameters
    ----------
    job : Job
        How.
    table : Manifest
        The images.
    wanted : sequence of Target
        The networks.

    Returns
    -------
    tuple of Extraction
        One a store, in the order of the targets.

    Raises
    ------
    StoreError
        If a store is damaged or of another recipe.
    ExtractionError
        If an image fails and ``on_error`` is ``"fail"``, or features cannot be written.
    """
    begun = time.perf_counter()
    images = _images(job, table)
    start = {"hash": time.perf_counter() - begun}
    sources = images.sources()
    works = [_work(job, target, sources) for target in wanted]
    done: dict[int, tuple[Extraction, ...]] = {}
    for text in dict.fromkeys(text for target in wanted for text in target.warnings):
        job.progress.say(f"warning: {text}")
    passes = [(work.target.image_size, work.target.preparation) for work in works]
    for pixels in dict.fromkeys(passes):
        places = [place for place, wanted_pixels in enumerate(passes) if wanted_pixels == pixels]
        here = [works[place] for place in places]
        outcome = None
        if job.dry_run:
            try_networks(job, here, sources)
        else:
            outcome = run_networks(job, here, sources, start)
        done |= {place: _results(job, works[place], images, outcome) for place in places}
        start = {"hash": 0.0}
    return tuple(item for place in sorted(done) for item in done[place])


def _images(job: ExtractionJob, table: Manifest) -> _Images:
    paths = table.paths
    found = content_keys(paths, cache=job.cache, workers=job.settings.workers, progress=job.progress)
    reasons = {path: str(error) for path, error in found.failures.items()}
    rows = [(name, path, found.keys.get(path, "")) for name, path in zip(table.ids, paths, strict=True)]
    if job.shard:
        part, whole = shard_of(job.shard)
        rows = [row for row in rows if int((row[2] or digest(row[0]))[:12], 16) % whole == part - 1]
    if reasons and job.on_error == "fail":
        raise ExtractionError(next(iter(reasons.values())))
    return _Images(tuple(rows), reasons)


def _work(job: ExtractionJob, target: NetworkPlan, keys: Iterable[str]) -> PassWork:
    wanted = list(keys)
    if job.overwrite:
        return PassWork(target, (frozenset(wanted),) * len(target.recipes))
    return PassWork(target, missing_keys(target, wanted))


def _results(
    job: ExtractionJob, work: PassWork, images: _Images, outcome: PassOutcome | None
) -> tuple[Extraction, ...]:
    target, results = work.target, []
    for recipe, folder, missing in zip(target.recipes, target.folders, work.missing, strict=True):
        reasons = _reasons(folder, missing, outcome)
        failed = tuple(
            (name, path, reasons.get(key) or images.reasons[path])
            for name, path, key in images.rows
            if not key or key in reasons
        )
        lacking = sum(key in missing for _, _, key in images.rows if key)
        left = lacking if outcome is None else 0
        ran = outcome is not None and bool(missing)
        result = Extraction(
            store=folder,
            backbone=target.backbone.name,
            weights=target.weights.label,
            layer=recipe.layer,
            images=len(images.rows),
            reused=sum(bool(key) for _, _, key in images.rows) - lacking,
            computed=lacking - left - sum(bool(key) and key in reasons for _, _, key in images.rows),
            pending=left,
            failed=failed,
            seconds=outcome.seconds if outcome and ran else {},
            workers=job.settings.cores,
            engine=outcome.engine if outcome and ran else "",
            device=outcome.device if outcome and ran else "",
            batch_size=job.settings.batch_size,
        )
        if outcome is not None:
            write_failures(result, job.shard)
        results.append(result)
    return tuple(results)


def _reasons(folder: Path, missing: frozenset[str], outcome: PassOutcome | None) -> dict[str, str]:
    """Key to reason, for the images that failed for a store."""
    if outcome is None:
        return {}
    return {
        failure.key: failure.reason
        for failure in outcome.failures
        if failure.key in missing and (failure.store is None or outcome.stores[failure.store] == folder)
    }
