"""Saliency maps of SVM runs. Runs and images come in, Grad-CAM maps of the decision value go out as PNG files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
