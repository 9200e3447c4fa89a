"""Whether networks have a layer: found out in a process of its own, since frameworks take memory and GPUs for good.

Run as ``python -m featx.study.layers QUESTION``, the question in JSON; the answer goes to standard output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

from featx.errors import BackboneError, FeatxError

__all__ = ["found_here", "layer_problems", "main"]


def layer_problems(
    backbones: Sequence[str], layers: Sequence[str], pool: str, image_size: int | None
) -> tuple[BackboneError, ...]:
    """Build networks up to a layer, with random weights.

    Parameters
    ----------
    backbones : sequence of str
        Names in the zoo's table.
    layers : sequence of str
        Names of layers; none for the penultimate one.
    pool : str
        How a layer's map becomes a vector.
    image_size : int, optional
        Side of the input, px.

    Returns
    -------
    tuple of BackboneError
        Of those that cannot be built: no such layer, or none that the pooling makes a vector of.

    Raises
    ------
    FeatxError
        If the process fails for another reason.
    """
    question = {"backbones": list(backbones), "layers": list(layers), "pool": pool, "image_size": image_size}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "featx.study.layers", json.dumps(question)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise FeatxError(f"the layers of {', '.join(backbones)} cannot be looked up: {last[0]}")
    return tuple(BackboneError(text) for text in json.loads(done.stdout.splitlines()[-1]))


def found_here(
    backbones: Sequence[str], layers: Sequence[str], pool: str, image_size: int | None
) -> tuple[BackboneError, ...]:
    """Build the networks in this process; arguments and result are those of `layer_problems`."""
    from featx.zoo import build_network, find_backbone, resolve_weights

    problems = []
    for row in map(find_backbone, backbones):
        try:
            build_network(
                row, resolve_weights("random", row)[0], layers=layers, pool=pool, image_size=image_size
            )
        except BackboneError as error:
            problems.append(error)
    return tuple(problems)


def main() -> None:
    """Answer the question on the command line."""
    print(json.dumps([str(error) for error in found_here(**json.loads(sys.argv[1]))]))


if __name__ == "__main__":
    main()
