"""Weights files of other frameworks made into files of Keras."""

from __future__ import annotations

from pathlib import Path

from featx.errors import WeightsError
from featx.zoo.backbones import find_backbone
from featx.zoo.matconvnet import guess_backbone
from featx.zoo.weights import file_label, resolve_weights

__all__ = ["convert_weights"]


def convert_weights(
    path: Path | str, *, backbone: str | None = None, output: Path | str | None = None
) -> Path:
    """Write any weights file that featx reads as a Keras 3 ``.weights.h5``.

    Parameters
    ----------
    path : Path or str
        A weights file.
    backbone : str, optional
        Its architecture; a MatConvNet file tells its own.
    output : Path or str, optional
        Where to write; by default beside `path`, with the ending ``.weights.h5``.

    Returns
    -------
    Path
        The file written: the network up to its penultimate layer, as a weights source gives the same
        features as `path`.

    Raises
    ------
    WeightsError
        If the file cannot be read, is of another architecture, or the architecture is not told; or if
        `output` has another ending or is `path` itself.
    """
    from featx.zoo.network import build_backbone, save_backbone

    source = Path(path)
    target = Path(output) if output is not None else source.with_name(f"{file_label(source)}.weights.h5")
    if not target.name.endswith(".weights.h5"):
        raise WeightsError(f"{target}: the output's name must end in .weights.h5")
    name = backbone or (guess_backbone(source) if source.suffix == ".mat" and source.is_file() else None)
    if name is None:
        raise WeightsError(f"{source}: of which network? give --backbone")
    if target.resolve() == source.resolve():
        raise WeightsError(f"{target}: would overwrite what it is made from; give another --output")
    row = find_backbone(name)
    (weights,) = resolve_weights(source, row)
    save_backbone(build_backbone(row, weights), target)
    return target
