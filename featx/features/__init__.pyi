from .extraction import extract, failure_message, summarise_extraction
from .extraction_plan import ExtractSettings, missing_keys, targets
from .feature_recipe import recipe_key
from .store import RECIPE, FeatureStore, find_stores
from .upkeep import compact, export, facts, prune, prune_exports

__all__ = [
    "RECIPE",
    "ExtractSettings",
    "FeatureStore",
    "compact",
    "export",
    "extract",
    "facts",
    "failure_message",
    "find_stores",
    "missing_keys",
    "prune",
    "prune_exports",
    "recipe_key",
    "summarise_extraction",
    "targets",
]
