from .arm_files import arm_file, find_stores, network_of, read_arm, recipe_of, weights_of
from .device_choice import TakenDevice, take_device
from .extract_settings import EngineOptions, ExtractSettings, FeatureOptions
from .extraction import Extraction, extract, failed_paths, failure_message, summarise_extraction
from .feature_recipe import recipe_key
from .imported.feature_import import ImportedFeatures, import_features
from .imported.import_settings import ImportSettings
from .low_precision.bfloat16_networks import refuse_bfloat16
from .planning import missing_keys, targets
from .store import RECIPE, FeatureStore
from .upkeep import compact, export, facts, manifest_keys, prune, prune_exports

__all__ = [
    "RECIPE",
    "EngineOptions",
    "ExtractSettings",
    "Extraction",
    "FeatureOptions",
    "FeatureStore",
    "ImportSettings",
    "ImportedFeatures",
    "TakenDevice",
    "arm_file",
    "compact",
    "export",
    "extract",
    "facts",
    "failed_paths",
    "failure_message",
    "find_stores",
    "import_features",
    "manifest_keys",
    "missing_keys",
    "network_of",
    "prune",
    "prune_exports",
    "read_arm",
    "recipe_key",
    "recipe_of",
    "refuse_bfloat16",
    "summarise_extraction",
    "take_device",
    "targets",
    "weights_of",
]
