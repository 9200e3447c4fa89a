"""featx: which pre-trained network, transferred how, separates my classes best, and can I believe it?

The four verbs of the command line are functions here: `extract`, `train_svm`, `finetune`, `report`. Names are
imported at first use, so that ``import featx`` stays fast.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
