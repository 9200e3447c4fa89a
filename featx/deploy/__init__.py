"""From a study to its use: runs as models of new images.

Runs and new images come in, predictions go out. `finalize` trains one model on all images.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
