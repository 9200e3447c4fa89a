from .finetune_folds import finetune
from .fit import fit
from .kept import Kept
from .recipe import RECIPES, TrainingRecipe, read_recipe
from .sampling import final_weights

__all__ = [
    "Kept",
    "RECIPES",
    "TrainingRecipe",
    "final_weights",
    "finetune",
    "fit",
    "read_recipe",
]
