"""Fine-tuning of networks, one for each fold.

In come a manifest, a protocol, initial weights and a training recipe. A network is trained on the training set of each
fold, with a validation set that chooses the epoch. Out come runs of kind ``finetune``, whose folder is a weights source
for `featx.extract`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
