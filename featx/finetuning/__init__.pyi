from .finetune_folds import finetune
from .fit import Kept, fit
from .sampling import final_weights
from .training_recipe import RECIPES, TrainingRecipe, read_recipe

__all__ = [
    "RECIPES",
    "Kept",
    "TrainingRecipe",
    "final_weights",
    "finetune",
    "fit",
    "read_recipe",
]
