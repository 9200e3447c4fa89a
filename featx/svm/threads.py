"""Threads: ours around single-threaded linear algebra, never both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["in_threads", "one_blas_thread"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep linear algebra on one thread a call: our own threads do the rest, and sums keep their order."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield


def in_threads(work: Callable[[_Item], _Result], items: Iterable[_Item], workers: int) -> list[_Result]:
    """Map over items in threads.

    Parameters
    ----------
    work : callable
        Takes an item; must not depend on the others.
    items : iterable
        Items.
    workers : int
        Threads at the most.

    Returns
    -------
    list
        Results in the order of the items, the same for any number of threads.

    Examples
    --------
    >>> in_threads(abs, [-1, 2], workers=2)
    [1, 2]
    """
    jobs = list(items)
    if workers == 1 or len(jobs) < 2:
        return [work(item) for item in jobs]
    from joblib import Parallel, delayed

    return list(
        Parallel(n_jobs=min(workers, len(jobs)), backend="threading")(delayed(work)(job) for job in jobs)
    )
