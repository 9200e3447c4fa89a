"""PyTorch state dicts: read by the safetensors library or by PyTorch, then renamed to the layers of a backbone.

Both libraries are optional. A `.pth` file contains a pickle: PyTorch loads it with ``weights_only=True``, which builds
tensors and plain containers only and refuses every other name.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from featx.errors import WeightsError
from featx.zoo.formats.contents import Allowance, Contents, StoredLayer

__all__ = [
    "OLD_TORCH",
    "TORCH_BACKBONES",
    "from_state_dict",
    "is_safetensors",
    "is_torch_archive",
    "read_safetensors",
    "read_tensor",
    "read_torch",
]

# The first bytes of a file that PyTorch wrote before version 1.6.
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

# The first version whose `weights_only` loader is safe: earlier ones could run code or corrupt memory
# (CVE-2025-32434, fixed in 2.6; CVE-2026-24747, fixed in 2.10).
_SAFE_TORCH = "2.10"

# Keys under which training scripts store the state dict beside other values.
_WRAPPERS = ("state_dict", "model", "model_state_dict")


def is_safetensors(head: bytes, size: int) -> bool:
    """Tell whether a file is a safetensors file."""
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a safetensors file; bfloat16 as float32."""
    try:
        # Gives NumPy the type bfloat16. Keras depends on it.
        import ml_dtypes
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise WeightsError(
            f"{path}: reading a safetensors file needs the safetensors library, which cannot be imported ({error}); "
            "pip install 'featx[safetensors]'"
        ) from error
    try:
        # The library refuses a header whose tensors do not fill the file exactly.
        with safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.offset_keys()}
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    return {
        name: array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array
        for name, array in arrays.items()
    }


def is_torch_archive(archive: zipfile.ZipFile) -> bool:
    """Tell whether a zip archive is one that `torch.save` wrote."""
    return any(name.count("/") == 1 and name.endswith("/data.pkl") for name in archive.namelist())


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """Read the state dict in a file that `torch.save` wrote, of any version.

    Returns
    -------
    dict of str to ndarray
        Tensors by name, without the prefix ``module.`` of data-parallel training; bfloat16 as float32.
    """
    torch = _import_torch(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise WeightsError(
                f"{path}: contains {found[1]}, which could run code on loading; save `model.state_dict()` alone, or as "
                "safetensors"
            ) from error
        raise
    except Exception as error:  # a damaged file makes PyTorch raise errors of many types
        raise ValueError(str(error) or type(error).__name__) from error
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    items = content.items() if isinstance(content, Mapping) else ()
    tensors = {
        str(name).removeprefix("module."): value for name, value in items if isinstance(value, torch.Tensor)
    }
    if not tensors:
        raise WeightsError(f"{path}: a PyTorch file without a state dict; save `model.state_dict()`")
    allowance = Allowance(path)
    for tensor in tensors.values():
        # A view may declare more values than its storage has.
        allowance.take(tensor.numel() * tensor.element_size())
    return {name: _to_numpy(torch, tensor) for name, tensor in tensors.items()}


def read_tensor(path: Path) -> np.ndarray:
    """Read the one tensor in a file that `torch.save` wrote, alone or in a list; bfloat16 as float32.

    Raises
    ------
    WeightsError
        If the file is missing, damaged or holds anything else, or without PyTorch.
    """
    torch = _import_torch(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes PyTorch raise errors of many types
        line = str(getattr(error, "strerror", None) or error or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"{path}: cannot be read as a PyTorch tensor ({line}); copy or write it again"
        ) from error
    if isinstance(content, list | tuple) and len(content) == 1:
        (content,) = content
    if not isinstance(content, torch.Tensor):
        raise WeightsError(
            f"{path}: a file with one tensor is needed, this one holds a {type(content).__name__}; save one tensor"
        )
    Allowance(path).take(content.numel() * content.element_size())
    return _to_numpy(torch, content)


def _import_torch(path: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise WeightsError(
            f"{path}: reading a .pth file needs PyTorch, which cannot be imported ({error}); pip install "
            "'featx[torch]', or save the state dict as safetensors on a machine that has PyTorch"
        ) from error
    if torch.__version__ < _SAFE_TORCH:
        raise WeightsError(
            f"{path}: PyTorch {torch.__version__} does not load untrusted files safely; pip install "
            f"'torch>={_SAFE_TORCH}', or save the state dict as safetensors"
        )
    return torch


def _to_numpy(torch: Any, tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    array: np.ndarray = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


_NamedTensors = Mapping[str, np.ndarray]


_COUNTERS = "num_batches_tracked"


# The joint weights of an attention layer do not belong to a module in PyTorch.
_JOINED = re.compile(r"in_proj_(weight|bias)$")


# Convolutions of VGG-16 by their number in `features`.
_VGG16 = {
    0: "block1_conv1",
    2: "block1_conv2",
    5: "block2_conv1",
    7: "block2_conv2",
    10: "block3_conv1",
    12: "block3_conv2",
    14: "block3_conv3",
    17: "block4_conv1",
    19: "block4_conv2",
    21: "block4_conv3",
    24: "block5_conv1",
    26: "block5_conv2",
    28: "block5_conv3",
}


# Pattern of a module's name, and name of the layer. The first full match is used; a name without a match is kept, since
# the layers of featx's own networks have the names of timm's modules.
_VGG16_NAMES = (
    *((rf"features\.{number}", name) for number, name in _VGG16.items()),
    (r"pre_logits\.fc1|classifier\.0", "fc1"),
    (r"pre_logits\.fc2|classifier\.3", "fc2"),
)


_STAGE = "convnext_tiny_stage_"


_CONVNEXT_PARTS = (
    (r"block\.0", "depthwise_conv"),
    (r"block\.2", "layernorm"),
    (r"block\.3", "pointwise_conv_1"),
    (r"block\.5", "pointwise_conv_2"),
    ("layer_scale", "layer_scale"),
)


_CONVNEXT_NAMES = (
    (r"stem\.0", "convnext_tiny_stem_conv"),
    (r"stem\.1", "convnext_tiny_stem_layernorm"),
    (r"stages\.(\d)\.blocks\.(\d+)\.conv_dw", _STAGE + r"\1_block_\2_depthwise_conv"),
    (r"stages\.(\d)\.blocks\.(\d+)\.norm", _STAGE + r"\1_block_\2_layernorm"),
    (r"stages\.(\d)\.blocks\.(\d+)\.mlp\.fc(\d)", _STAGE + r"\1_block_\2_pointwise_conv_\3"),
    (r"stages\.(\d)\.blocks\.(\d+)\.gamma", _STAGE + r"\1_block_\2_layer_scale"),
    (r"head\.norm|classifier\.0", "layer_normalization"),
    # torchvision numbers stem, stages and downsampling consecutively, and the parts of a block too.
    (r"features\.0\.0", "convnext_tiny_stem_conv"),
    (r"features\.0\.1", "convnext_tiny_stem_layernorm"),
    *(
        (rf"features\.{2 * stage + 1}\.(\d+)\.{theirs}", rf"{_STAGE}{stage}_block_\1_{ours}")
        for stage in range(4)
        for theirs, ours in _CONVNEXT_PARTS
    ),
    *((rf"features\.{2 * n}\.0", f"convnext_tiny_downsampling_layernorm_{n - 1}") for n in (1, 2, 3)),
    *((rf"features\.{2 * n}\.1", f"convnext_tiny_downsampling_conv_{n - 1}") for n in (1, 2, 3)),
    *((rf"stages\.{n}\.downsample\.0", f"convnext_tiny_downsampling_layernorm_{n - 1}") for n in (1, 2, 3)),
    *((rf"stages\.{n}\.downsample\.1", f"convnext_tiny_downsampling_conv_{n - 1}") for n in (1, 2, 3)),
)


def _torchvision_efficientnet(blocks: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    """Map the modules of torchvision's EfficientNet, whose first stage does not expand."""
    yield r"features\.0\.0", "conv_stem"
    yield r"features\.0\.1", "bn1"
    for stage, expands in enumerate([False] + [True] * (len(blocks) - 1)):
        theirs, number = rf"features\.{stage + 1}\.(\d+)\.block", 0
        for conv in ("conv_pw", "conv_dw") if expands else ("conv_dw",):
            yield rf"{theirs}\.{number}\.0", rf"blocks.{stage}.\1.{conv}"
            yield rf"{theirs}\.{number}\.1", rf"blocks.{stage}.\1.bn{number + 1}"
            number += 1
        yield rf"{theirs}\.{number}\.fc1", rf"blocks.{stage}.\1.se.conv_reduce"
        yield rf"{theirs}\.{number}\.fc2", rf"blocks.{stage}.\1.se.conv_expand"
        last = "conv_pwl" if expands else "conv_pw"
        yield rf"{theirs}\.{number + 1}\.0", rf"blocks.{stage}.\1.{last}"
        yield rf"{theirs}\.{number + 1}\.1", rf"blocks.{stage}.\1.bn{number + 1}"
    yield rf"features\.{len(blocks) + 1}\.0", "conv_head"
    yield rf"features\.{len(blocks) + 1}\.1", "bn2"


def _torchvision_inverted(blocks: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    """Map the consecutively numbered blocks of torchvision's MobileNetV2 to stage and block."""
    yield r"features\.0\.0", "conv_stem"
    yield r"features\.0\.1", "bn1"
    places = [(stage, block) for stage, count in enumerate(blocks) for block in range(count)]
    parts = {
        False: {r"0\.0": "conv_dw", r"0\.1": "bn1", "1": "conv_pw", "2": "bn2"},
        True: {
            r"0\.0": "conv_pw",
            r"0\.1": "bn1",
            r"1\.0": "conv_dw",
            r"1\.1": "bn2",
            "2": "conv_pwl",
            "3": "bn3",
        },
    }
    for number, (stage, block) in enumerate(places, 1):
        for theirs, ours in parts[stage > 0].items():
            yield rf"features\.{number}\.conv\.{theirs}", f"blocks.{stage}.{block}.{ours}"
    yield rf"features\.{len(places) + 1}\.0", "conv_head"
    yield rf"features\.{len(places) + 1}\.1", "bn2"


# Names of a Vision Transformer of torchvision, whose attention has query, key and value in one tensor, as in timm.
_BLOCK = r"encoder\.layers\.encoder_layer_(\d+)\."


_VIT_NAMES = (
    ("conv_proj", "patch_embed.proj"),
    ("class_token", "cls_token"),
    (r"encoder\.pos_embedding", "pos_embed"),
    (_BLOCK + r"ln_(\d)", r"blocks.\1.norm\2"),
    (_BLOCK + r"self_attention\.in_proj", r"blocks.\1.attn.qkv"),
    (_BLOCK + r"self_attention\.out_proj", r"blocks.\1.attn.proj"),
    # Files of torchvision before 0.12 number the layers of the perceptron otherwise.
    (_BLOCK + r"mlp\.(?:0|linear_1)", r"blocks.\1.mlp.fc1"),
    (_BLOCK + r"mlp\.(?:3|linear_2)", r"blocks.\1.mlp.fc2"),
    (r"encoder\.ln", "norm"),
)


_NAMES: dict[str, tuple[tuple[str, str], ...]] = {
    "convnext_tiny": _CONVNEXT_NAMES,
    "efficientnet_b0_torch": tuple(_torchvision_efficientnet((1, 2, 2, 3, 3, 4, 1))),
    **{f"efficientnet_lite{number}": () for number in range(5)},
    "mobilenet_v2_torch": tuple(_torchvision_inverted((1, 2, 3, 4, 3, 3, 1))),
    "resnet50_torch": (),
    "vgg16_torch": _VGG16_NAMES,
    **{f"vit_{size}": () for size in ("ti16", "s16", "s32", "b16", "b32", "l16")},
    **{f"vit_{size}_torchvision": _VIT_NAMES for size in ("b16", "b32", "l16")},
}


# Backbones for which PyTorch state dicts can be read.
TORCH_BACKBONES = tuple(_NAMES)


def from_state_dict(path: Path, tensors: _NamedTensors, backbone: str) -> Contents:
    """Convert a state dict to the layer names of a backbone and the array shapes of Keras.

    Returns
    -------
    Contents
        Its layers: convolutions (height, width, in, out), dense kernels (in, out), batch normalisation as
        scale, offset, mean, variance.
    """
    if backbone not in TORCH_BACKBONES:
        raise WeightsError(
            f"{path}: a PyTorch state dict, which can be read for the backbones {', '.join(TORCH_BACKBONES)}; give one "
            f"of these as --backbone, got {backbone!r}"
        )
    layers = []
    for module, parts in _modules(tensors).items():
        name = _renamed(module, _NAMES[backbone])
        layers.append(StoredLayer(name, _arrays(name, parts, backbone)))
    return Contents(path, "named", tuple(layers))


def _modules(tensors: _NamedTensors) -> dict[str, dict[str, np.ndarray]]:
    """Group the tensors by module; a parameter without a layer of its own becomes a separate module."""
    modules: dict[str, dict[str, np.ndarray]] = {}
    for given, tensor in tensors.items():
        name = _JOINED.sub(r"in_proj.\1", given)
        module, _, part = name.rpartition(".")
        if part == _COUNTERS:
            continue
        if part in ("weight", "bias", "running_mean", "running_var"):
            modules.setdefault(module, {})[part] = tensor
        else:
            modules[name] = {"weight": tensor}
    return modules


def _renamed(module: str, names: tuple[tuple[str, str], ...]) -> str:
    for pattern, name in names:
        if found := re.fullmatch(pattern, module):
            return found.expand(name) if "\\" in name else name
    return module


def _arrays(name: str, parts: Mapping[str, np.ndarray], backbone: str) -> tuple[np.ndarray, ...]:
    if "weight" not in parts:
        return tuple(parts.values())
    weight = np.asarray(parts["weight"], np.float32)
    if "layer_scale" in name:
        return (weight.ravel(),)
    kernel = _kernel(name, weight, backbone)
    rest = (parts[part] for part in ("bias", "running_mean", "running_var") if part in parts)
    return kernel, *(np.asarray(array, np.float32) for array in rest)


def _kernel(name: str, weight: np.ndarray, backbone: str) -> np.ndarray:
    """Transpose a weight to (height, width, in, out) or (in, out), the order of Keras."""
    if backbone == "vgg16_torch" and name in ("fc1", "fc2"):
        return _DENSE[name](weight)
    if backbone == "convnext_tiny" and "pointwise" in name:
        return weight.reshape(weight.shape[:2]).T
    if weight.ndim == 4:
        depthwise = weight.shape[1] == 1 and backbone != "convnext_tiny"
        return weight.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
    return weight.T if weight.ndim == 2 else weight


def _first_dense(weight: np.ndarray) -> np.ndarray:
    """Reorder the weights after the last map from channels first to channels last."""
    return weight.reshape(len(weight), 512, 7, 7).transpose(2, 3, 1, 0).reshape(-1, len(weight))


def _second_dense(weight: np.ndarray) -> np.ndarray:
    return weight.reshape(weight.shape[:2]).T


_DENSE: dict[str, Callable[[np.ndarray], np.ndarray]] = {"fc1": _first_dense, "fc2": _second_dense}
