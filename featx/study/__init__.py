"""Whole studies from one file.

A study file comes in: data sets, tasks, networks, options and arms. It becomes a list of jobs, each a call of a
verb known by the digest of all that decides its result, and worker processes do those that are not finished. A
report for each target goes out.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
