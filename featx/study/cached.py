"""What an extraction would find in the feature stores of the cache, of this study or of any other."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from featx.errors import FeatxError
from featx.features import ExtractSettings, missing_keys, targets
from featx.study.jobs import Job
from featx.zoo import find_backbone, weights_folder

__all__ = ["images_in_cache"]

_SETTINGS = ("layers", "pool", "image_size", "preparation", "precision", "views", "view_ranges", "view_pool")


def images_in_cache(job: Job, keys: Collection[str]) -> int:
    """Count the images of an extraction whose features are there.

    Parameters
    ----------
    job : Job
        An extraction whose weights are there, as far as they come from other jobs. Nothing is downloaded.
    keys : collection of str
        Content keys of its images.

    Returns
    -------
    int
        Images that each of its networks has features of; 0 where that cannot be told, and the job will say why.

    Examples
    --------
    >>> given = {"backbone": "tiny", "weights": "random:0", "engine": "keras", "cache": "/nowhere"}
    >>> settings = {"layers": [], "pool": "avg", "image_size": 32, "preparation": "resize", "precision": "float32"}
    >>> views = {"views": 1, "view_ranges": "paper", "view_pool": "mean"}
    >>> images_in_cache(Job("extract", "tiny", {}, {**given, **settings, **views}), ["0" * 64])
    0
    """
    given = job.arguments
    backbone, weights = find_backbone(given["backbone"]), str(given["weights"])
    if weights == "imagenet" and not (
        backbone.published and (weights_folder() / backbone.published.file).is_file()
    ):
        return 0
    chosen = {name: given[name] for name in _SETTINGS}
    settings = ExtractSettings(**{**chosen, "layers": tuple(chosen["layers"])}, engine=given["engine"])
    try:
        wanted = targets([backbone.name], [weights], settings, Path(given["cache"]))
        lacking = frozenset().union(*(missing for target in wanted for missing in missing_keys(target, keys)))
    except FeatxError:
        return 0
    return len(set(keys) - lacking)
