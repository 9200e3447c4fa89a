"""featx: which pre-trained network, transferred how, separates my classes best, and can I believe it?

The verbs of the command line are functions here: `extract`, `train_svm`, `finetune`, `report`, `run_study`, `saliency`,
`finalize`, `predict`, `robustness`, `embedding`.
`read_manifest`, `make_folds`, `read_runs`, `compare_arms`, `FeatureStore` and `LinearSVM` are for notebooks. Names are
imported at first use, so that ``import featx`` stays fast.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
