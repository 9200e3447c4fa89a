"""TensorFlow without the notes that it writes to stderr while it is imported."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["quieten_tensorflow"]

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def quieten_tensorflow(debug: bool = False) -> None:
    """Keep TensorFlow's notes on CUDA, oneDNN and logging off stderr, in this process and those that it starts.

    TensorFlow's own level is raised; what its libraries write all the same while they are loaded is held back, and
    shown only where the import fails. Nothing is imported here, and no arithmetic is changed.

    Notes
    -----
    Whoever has set ``TF_CPP_MIN_LOG_LEVEL`` to 0 sees everything.
    """
    shown = os.environ.setdefault(_LEVEL, "0" if debug else "3") == "0"
    waiting = any(isinstance(finder, _Finder) for finder in sys.meta_path)
    if not (shown or waiting or "tensorflow" in sys.modules):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds TensorFlow where the others do, and lets it load in silence."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module
            # Of this loader alone: it is made for this one module.
            spec.loader.exec_module = lambda module: _silently(load, module)  # type: ignore[method-assign]
        return spec


def _silently(load: Callable[[ModuleType], None], module: ModuleType) -> None:
    """Load a module with the file behind stderr exchanged, which libraries in C++ write to directly."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            load(module)
        except Exception:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
