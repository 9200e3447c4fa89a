"""Feature recipes: everything that decides the value of a feature, and the name of its store."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from featx.digest import canonical, digest, short

__all__ = ["FORMAT", "Recipe", "folder_name", "recipe_digest", "recipe_key"]

FORMAT = 1

# Fields that recipes got later: where they say nothing they are left out, so that earlier digests hold.
_LATER = frozenset({"float32_layers"})

# Metadata, not part of the digest.
_METADATA = frozenset({"weights_source", "weights_label", "lineage", "versions", "warnings", "digest"})


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the features of an image, apart from the image.

    Attributes
    ----------
    backbone : str
        Name in the zoo's table.
    weights : str
        Digest of the weights.
    layer : str
        Layer whose output is the feature.
    pool : str
        How a feature map becomes a vector.
    image_size : int
        Side of the square input in pixels.
    preparation : mapping
        Name, version and settings of the preparation.
    decode : int
        Version of the decoding rules.
    views : mapping, optional
        Augmented views of an image; None for the image as it is.
    view_pool : str
        ``"none"`` without views, ``"mean"`` for their average, ``"keep"`` for a row each.
    precision : str
        Arithmetic of the forward pass.
    engine : str, optional
        What ran the forward pass below float32, where engines differ by more than float noise; None in float32.
    float32_layers : int, optional
        How many of the first depthwise convolutions stay in float32 below float32; None for none.
    trained_on : mapping, optional
        What fine-tuned weights were trained on: task, fold, digests of folds and training images.
    weights_source, weights_label : str
        Where the weights came from, and their name in folder names. Metadata, not part of the digest.
    lineage : tuple of str
        Where the weights came from, oldest first. Metadata, not part of the digest.
    versions : mapping of str to str
        Versions of libraries when the store was made. Metadata, not part of the digest.
    warnings : tuple of str
        Notes that readers of results on these features need. Metadata, not part of the digest.
    format : int
        Version of this layout.
    """

    backbone: str
    weights: str
    layer: str
    pool: str
    image_size: int
    preparation: Mapping[str, Any]
    decode: int
    views: Mapping[str, Any] | None = None
    view_pool: str = "none"
    precision: str = "float32"
    engine: str | None = None
    float32_layers: int | None = None
    trained_on: Mapping[str, Any] | None = None
    weights_source: str = ""
    weights_label: str = ""
    lineage: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    format: int = FORMAT

    def key(self) -> dict[str, Any]:
        """Return the fields that decide a feature's value, in JSON types."""
        return recipe_key(self.record())

    def record(self) -> dict[str, Any]:
        """Return all fields, in JSON types."""
        fields = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        record: dict[str, Any] = canonical(fields)
        return record

    @property
    def digest(self) -> str:
        """SHA-256 of the deciding fields."""
        return digest(self.key())


def recipe_key(record: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the fields of a recipe's record that decide a feature's value.

    Parameters
    ----------
    record : mapping
        As `Recipe.record` returns it, or as read from ``recipe.json``.

    Returns
    -------
    dict
        JSON types.

    Examples
    --------
    >>> recipe_key({"backbone": "tiny", "lineage": ["random"]})
    {'backbone': 'tiny'}
    """
    return {
        name: canonical(value)
        for name, value in record.items()
        if name not in _METADATA and not (value is None and name in _LATER)
    }


def recipe_digest(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the fields of a recipe's record that decide a feature's value.

    Examples
    --------
    >>> recipe_digest({"backbone": "tiny"}) == recipe_digest({"backbone": "tiny", "lineage": ["random"]})
    True
    """
    return digest(recipe_key(record))


def folder_name(recipe: Recipe) -> str:
    """Return the name of the store's folder: ``BACKBONE-WEIGHTS-DIGEST``, with eight digits of the recipe's digest.

    Examples
    --------
    >>> recipe = Recipe("tiny", "ab12", "global pool", "avg", 64, {"name": "resize"}, 1, weights_label="random0")
    >>> folder_name(recipe) == f"tiny-random0-{recipe.digest[:8]}"
    True
    """
    label = "".join(char if char.isalnum() or char in "._+" else "-" for char in recipe.weights_label)
    return f"{recipe.backbone.replace(':', '-')}-{label or 'weights'}-{short(recipe.digest)}"
