from .finetune_folds import finetune, train_folds
from .finetune_plan import CompiledNetwork
from .finetune_settings import FinetuneSettings
from .sampling import final_weights
from .training_recipe import TrainingRecipe, read_recipe

__all__ = [
    "CompiledNetwork",
    "FinetuneSettings",
    "TrainingRecipe",
    "final_weights",
    "finetune",
    "read_recipe",
    "train_folds",
]
