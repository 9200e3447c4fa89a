"""Where in an image an SVM's evidence lies: Grad-CAM towards its decision value."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
