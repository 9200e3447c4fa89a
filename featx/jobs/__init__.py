"""Jobs: calls of verbs, run by worker processes of this machine or of a cluster.

Jobs come in, each identified by a digest of all that decides its result, with the jobs that they need; their results, logs
and states go to a folder on a disk that all machines share. A place (this machine, Dask, Ray, any executor) carries a job
to a slot; there a worker process of its own does it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
