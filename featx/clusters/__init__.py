"""What batch systems need: scripts of SLURM jobs, a manifest for Kubernetes, a certificate for Dask.

A manifest or study file and the wanted resources come in; texts that users edit and submit go out. Nothing is submitted
here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
