"""Projections of features to two dimensions: UMAP, or the first two principal components."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["PROJECTIONS", "Projection", "pca_projection", "umap_projection"]

_Floats = npt.NDArray[np.float64]

# UMAP's own defaults; fewer images than these neighbours cannot have so many.
_NEIGHBOURS, _MIN_DISTANCE = 15, 0.1
# Decimals of the coordinates, in units of the longer side of the map: the last bits depend on the machine.
_DECIMALS = 5


@dataclass(frozen=True, eq=False)
class Projection:
    """Coordinates of images.

    Attributes
    ----------
    method : str
        Name, version and parameters in words, for captions.
    parameters : mapping
        The same as JSON types.
    points : ndarray of float64, shape (n, 2)
        Coordinates; the longer side of the map is 1.
    """

    method: str
    parameters: Mapping[str, Any]
    points: _Floats = field(repr=False)


def pca_projection(rows: _Floats, seed: int = 0) -> Projection:
    """Project rows to their first two principal components.

    Parameters
    ----------
    rows : ndarray of float, shape (n, d)
        Features of n images.
    seed : int
        Not used: nothing is random.

    Returns
    -------
    Projection
        Components have the sign that makes their largest loading positive.

    Examples
    --------
    >>> pca_projection(np.array([[0.0, 0.0], [4.0, 0.0], [2.0, 1.0]])).points[:, 0].tolist()
    [0.0, 1.0, 0.5]
    """
    centred = rows - rows.mean(axis=0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    two = np.zeros((2, rows.shape[1]))
    two[: min(2, len(axes))] = axes[:2]
    signs = np.sign(two[np.arange(2), np.abs(two).argmax(axis=1)])
    total = float((values**2).sum())
    shares = [round(float(value**2) / total, 4) if total else 0.0 for value in values[:2]]
    words = f"PCA: the first two principal components, {100 * sum(shares):.0f} % of the variance"
    parameters = {"method": "pca", "explained_variance": shares}
    return Projection(words, parameters, _scaled(centred @ (two * signs[:, None]).T))


def umap_projection(rows: _Floats, seed: int = 0) -> Projection:
    """Project rows by UMAP (McInnes, Healy & Melville 2018, arXiv 1802.03426), with cosine distances.

    Parameters
    ----------
    rows : ndarray of float, shape (n, d)
        Features of n images.
    seed : int
        Random seed; one thread runs, so that equal seeds give equal maps.

    Returns
    -------
    Projection
        Of fewer than ten images `pca_projection`, because their neighbourhoods say nothing.
    """
    if len(rows) < 10:
        return pca_projection(rows)
    # Parametric UMAP would import PyTorch and TensorFlow; umap-learn goes without where its file cannot be imported.
    sys.modules.setdefault("umap.parametric_umap", None)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import umap

        given = {
            "n_neighbors": min(_NEIGHBOURS, len(rows) - 1),
            "min_dist": _MIN_DISTANCE,
            "metric": "cosine",
        }
        made = umap.UMAP(**given, random_state=seed, n_jobs=1).fit_transform(rows.astype(np.float32))
    words = (
        f"UMAP {umap.__version__} with cosine distances, {given['n_neighbors']} neighbours, minimum distance "
        f"{_MIN_DISTANCE:g}, seed {seed}"
    )
    parameters = {"method": "umap", "version": umap.__version__, **given, "seed": seed}
    return Projection(words, parameters, _scaled(np.asarray(made, np.float64)))


def _scaled(points: _Floats) -> _Floats:
    low, reach = points.min(axis=0), float(np.ptp(points, axis=0).max())
    return np.asarray(((points - low) / (reach or 1.0)).round(_DECIMALS) + 0.0)


PROJECTIONS: Mapping[str, Callable[[_Floats, int], Projection]] = {
    "pca": pca_projection,
    "umap": umap_projection,
}
"""Method to its function of the rows and the seed."""
