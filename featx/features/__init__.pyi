from .extraction import extract
from .plan import ExtractSettings, missing_keys, targets
from .recipe import recipe_key
from .results import failure_message, summarise_extraction
from .store import FeatureStore, RECIPE, find_stores
from .upkeep import compact, export, facts, prune, prune_exports

__all__ = [
    "ExtractSettings",
    "FeatureStore",
    "RECIPE",
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
