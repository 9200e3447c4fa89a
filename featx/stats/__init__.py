"""Metrics, confidence intervals and tests of classifiers.

Labels and scores of images come in as arrays, by fold and by arm. Metrics such as AUC, sensitivity and calibration are
computed with confidence intervals, and arms are compared by tests that account for overlapping training sets and for
groups of images. Arrays and frozen dataclasses come out; nothing is read, drawn or printed, and every random step has a
seed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
