"""Embedding maps of runs: stored features come in, a map in two dimensions, neighbours and label-noise candidates go out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
