"""Names of layers that do not depend on what was built before."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

__all__ = ["layer_names", "snake_case"]


def snake_case(name: str) -> str:
    """Spell a class name as Keras does in automatic layer names.

    Parameters
    ----------
    name : str
        Name of a class.

    Returns
    -------
    str
        The same in lower case with underscores.

    Examples
    --------
    >>> snake_case("SeparableConv2D")
    'separable_conv2d'
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def layer_names(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Name the layers of a network, numbered ones from the beginning.

    Keras numbers layers without a name of their own through the whole process; here each network begins
    anew, as in a fresh process.

    Parameters
    ----------
    model : keras.Model
        A network.

    Returns
    -------
    dict of str to keras.layers.Layer
        Layers by name, in the model's order.
    """
    automatic: dict[str, list[tuple[int, Any]]] = {}
    for layer in model.layers:
        kind = snake_case(type(layer).__name__)
        number = layer.name.removeprefix(kind).removeprefix("_") or "0"
        if layer.name.startswith(kind) and number.isdigit():
            automatic.setdefault(kind, []).append((int(number), layer))
    names = {id(layer): layer.name for layer in model.layers}
    for kind, numbered in automatic.items():
        first = min(number for number, _ in numbered)
        names |= {
            id(layer): f"{kind}_{number - first}" if number > first else kind for number, layer in numbered
        }
    return {names[id(layer)]: layer for layer in model.layers}
