"""Checks of the machine: what featx needs goes in, a table of what works and what does not comes out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
