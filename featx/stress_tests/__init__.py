"""Robustness of runs: the images that a run tests come in, corrupted copies of them are scored, and the drops go out.

Features of corrupted images are extracted by the recipe of the run into a temporary store, never into that of the images.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
