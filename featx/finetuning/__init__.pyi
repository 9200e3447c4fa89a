from .finetune_folds import (
    finetune,
)
from .kept import (
    Kept,
)
from .recipe import (
    RECIPES,
    TrainingRecipe,
    read_recipe,
)
from .sampling import (
    final_weights,
)

__all__ = [
    "RECIPES",
    "Kept",
    "TrainingRecipe",
    "final_weights",
    "finetune",
    "read_recipe",
]
