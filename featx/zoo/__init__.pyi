from .backbones import Backbone, find_backbone, list_backbones, published_weights
from .cost import Cost, count_costs, estimated_multiply_adds
from .downloads import WEIGHTS_DIR, fetch_weights, find_preset, find_published, is_preset, weights_folder
from .formats.keras_files import elsewhere
from .formats.matching import layer_names
from .formats.torch_files import read_tensor
from .network import (
    Network,
    build_backbone,
    build_network,
    check_own,
    checked_size,
    convert_weights,
    describe_backbone,
    load_saved,
    save_backbone,
)
from .own_backbone import CustomBackbone, features_of, is_own, load_own
from .weights import BACKBONE_FILE, TRAINED_ON_FILE, Weights, backend_name, resolve_weights

__all__ = [
    "BACKBONE_FILE",
    "TRAINED_ON_FILE",
    "WEIGHTS_DIR",
    "Backbone",
    "Cost",
    "CustomBackbone",
    "Network",
    "Weights",
    "backend_name",
    "build_backbone",
    "build_network",
    "check_own",
    "checked_size",
    "convert_weights",
    "count_costs",
    "describe_backbone",
    "elsewhere",
    "estimated_multiply_adds",
    "features_of",
    "fetch_weights",
    "find_backbone",
    "find_preset",
    "find_published",
    "is_own",
    "is_preset",
    "layer_names",
    "list_backbones",
    "load_own",
    "load_saved",
    "published_weights",
    "read_tensor",
    "resolve_weights",
    "save_backbone",
    "weights_folder",
]
