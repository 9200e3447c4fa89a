"""Which images there are, what they show, and which of them train and test.

Manifests, published data sets, label mappings (tasks), protocols and fold files come in, or synthetic images are made.
They are read, checked as a whole, and split by class and group. Out go `Manifest`, `Labelled` images and `Folds`, and
reports on duplicates, leaks and doubtful labels.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
