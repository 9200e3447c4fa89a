from .finetune_folds import finetune
from .learner import Kept
from .sampling import final_weights
from .training_recipe import RECIPES, TrainingRecipe, read_recipe

__all__ = [
    "RECIPES",
    "Kept",
    "TrainingRecipe",
    "final_weights",
    "finetune",
    "read_recipe",
]
