"""From image files to pixels.

Files of any common format come in. They are decoded to upright 8-bit sRGB, cropped and resized by a preparation, and
augmented. Out go arrays of uint8 pixels, and the SHA-256 of each file.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
