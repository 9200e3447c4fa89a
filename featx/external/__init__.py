"""External validation: test sets from elsewhere, scored by the models that were trained on a manifest.

The images of an external manifest come in, and the training data. Out go the images that both have, and the records of
the scores in the folders of runs; corrupted test images leave such records too.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
