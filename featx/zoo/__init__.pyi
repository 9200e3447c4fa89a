from .accelerator import Accelerator, find_accelerator
from .backbones import Backbone, find_backbone, list_backbones
from .convert import convert_weights
from .cost import Cost, MULTIPLY_ADDS, count_costs, estimated_multiply_adds
from .fetch import WEIGHTS_DIR, fetch_weights, find_preset, find_published, weights_folder
from .hdf5 import elsewhere
from .naming import layer_names
from .network import Network, build_backbone, build_network, check_pool, checked_size, save_backbone
from .presets import is_preset
from .published import published_weights
from .readers import weights_formats
from .weights import BACKBONE_FILE, TRAINED_ON_FILE, Weights, backend_name, resolve_weights

__all__ = [
    "Accelerator",
    "BACKBONE_FILE",
    "Backbone",
    "Cost",
    "MULTIPLY_ADDS",
    "Network",
    "TRAINED_ON_FILE",
    "WEIGHTS_DIR",
    "Weights",
    "backend_name",
    "build_backbone",
    "build_network",
    "check_pool",
    "checked_size",
    "convert_weights",
    "count_costs",
    "elsewhere",
    "estimated_multiply_adds",
    "fetch_weights",
    "find_accelerator",
    "find_backbone",
    "find_preset",
    "find_published",
    "is_preset",
    "layer_names",
    "list_backbones",
    "published_weights",
    "resolve_weights",
    "save_backbone",
    "weights_folder",
    "weights_formats",
]
