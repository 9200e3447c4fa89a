"""Takes from featx what other systems lack, in every Python process: ``FEATX_PRETEND=macos`` or ``windows``.

``make other-systems`` runs the tests of what touches the system so, and the demo. That shows that featx does without
these calls; it does not show how featx behaves on those systems. Python loads a file of this name by itself where its
folder is in ``PYTHONPATH``, so that worker processes are reached too. Other libraries keep what they need: a module of
featx that has imported ``os`` gets a stand-in once it is loaded.
"""

from __future__ import annotations

import errno
import os
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

SYSTEM = os.environ.get("FEATX_PRETEND", "")
MACOS = {"sched_getaffinity", "sched_setaffinity", "renameat2", "prctl", "mallopt"}
WINDOWS = MACOS | {
    *("getuid", "geteuid", "getpriority", "setpriority", "nice", "killpg", "pwrite", "statvfs", "sysconf"),
    *("major", "minor", "set_blocking", "O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY"),
    *("SIGHUP", "SIGKILL", "SIGALRM", "setitimer", "flock", "lockf", "getrlimit"),
}
ABSENT = {"macos": MACOS, "windows": WINDOWS}.get(SYSTEM, set())
# Folders of the Linux kernel, and what paths in them answer.
HIDDEN = ("/proc", "/sys", "/dev/shm")
LOOKS = ("stat", "open", "read_text", "read_bytes", "iterdir", "readlink")


class Without(ModuleType):
    """A module without what the pretended system lacks; everything else is that of the real one."""

    def __init__(self, real: Any) -> None:
        super().__init__(getattr(real, "__name__", ""))
        self.__dict__["_real"] = real

    def __getattr__(self, name: str) -> Any:
        if name in ABSENT:
            raise AttributeError(name)
        value = getattr(self._real, name)
        if name == "CDLL":
            return lambda *given, **values: (
                Without(value(*given, **values)) if given == (None,) else value(*given)
            )
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, value)


class Finder(MetaPathFinder):
    """Finds the modules of featx where the others do, and gives them stand-ins once they are loaded."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        """Find a module of featx; leave the others to the others."""
        if fullname.partition(".")[0] not in {"featx", "featx_cli"}:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    self._wrap(spec.loader)
                return spec
        return None

    @staticmethod
    def _wrap(loader: Any) -> None:
        load = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            for name in {"os", "signal", "ctypes"} & vars(module).keys():
                setattr(module, name, Without(getattr(module, name)))
            if module.__name__ == "featx.disks" and SYSTEM == "windows":
                module._fcntl, module.HAS_LOCKS = None, False

        loader.exec_module = exec_module


def hide(name: str) -> None:
    """Make a method of paths find nothing below the folders of the Linux kernel."""
    real = getattr(Path, name)

    def look(self: Path, *given: Any, **values: Any) -> Any:
        if str(self).startswith(HIDDEN):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return real(self, *given, **values)

    setattr(Path, name, look)


if ABSENT:
    sys.meta_path.insert(0, Finder())
    for method in LOOKS:
        hide(method)
    if SYSTEM == "windows":
        import psutil  # noqa: F401 - it needs that module itself here

        sys.modules["resource"] = None  # type: ignore[assignment]
