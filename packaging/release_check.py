"""Checks a release: builds it, checks its files, and runs the demo in a fresh environment of each Python.

`make release-check` calls this. Everything is written below one folder, `build/release` if not given:

- ``dist``: the source distribution, and the wheel that is built from it;
- ``pythonX.Y``: a virtual environment with the wheel and what it depends on, installed from the package index, and in
  ``pythonX.Y/demo`` the demo's files.

A Python that is not on this machine is an error, unless ``--allow-missing`` is given; the last lines name it either way.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
TOOLS = ("build>=1.2", "check-wheel-contents>=0.6.2", "twine>=6.1")


def run(*command: str | Path, cwd: Path = ROOT, quiet: bool = False) -> None:
    """Run a command, and end with what it wrote if it fails."""
    print("$", *command, flush=True)
    begin = time.monotonic()
    # The code of the working tree must not stand in for what is installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, text=True, capture_output=quiet, check=False
    )
    if done.returncode:
        sys.exit(f"{done.stdout or ''}{done.stderr or ''}\nfailed with exit code {done.returncode}")
    print(f"  {time.monotonic() - begin:.0f} s", flush=True)


def environment(folder: Path, python: str | Path) -> Path:
    """Make an empty virtual environment; return its Python."""
    shutil.rmtree(folder, ignore_errors=True)
    run(python, "-m", "venv", folder)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def build(folder: Path) -> tuple[Path, Path]:
    """Build the source distribution and, from it, the wheel; check both."""
    tools = environment(folder / "tools", sys.executable)
    run(tools, "-m", "pip", "install", "--quiet", *TOOLS)
    dist = folder / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    run(tools, "-m", "build", "--outdir", dist, ROOT, quiet=True)
    (sdist,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    run(tools.parent / "check-wheel-contents", "--toplevel", "featx,featx_cli", wheel)
    run(tools, "-m", "twine", "check", "--strict", sdist, wheel)
    return sdist, wheel


def try_out(folder: Path, python: str, wheel: Path) -> Path:
    """Install the wheel into a fresh environment and run the demo there; return its Python."""
    home = environment(folder / f"python{python}", interpreter(python) or "")
    run(home, "-m", "pip", "install", "--quiet", wheel)
    run(home, "-m", "pip", "check")
    work = folder / f"python{python}" / "demo"
    work.mkdir()
    featx = home.parent / "featx"
    run(featx, "--version", cwd=work)
    run(featx, "demo", cwd=work)
    return home


def try_sdist(home: Path, sdist: Path, wheel: Path) -> None:
    """Install the source distribution in place of the wheel, and compare the files."""
    run(home, "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps", sdist)
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = Path(subprocess.run([home, "-c", code], capture_output=True, text=True, check=True).stdout.strip())
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        wrong = [name for name in names if (site / name).read_bytes() != archive.read(name)]
    if wrong:
        sys.exit(f"{sdist.name} installs other files than {wheel.name}: {', '.join(wrong)}")
    run(home.parent / "featx", "--version", cwd=home.parent)


def interpreter(python: str) -> str | None:
    """Find a Python of this version: on the path, or among those of pyenv."""
    below = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    known = [shutil.which(f"python{python}"), *sorted(below.glob(f"{python}.*/bin/python"), reverse=True)]
    return next((str(one) for one in known if one and _is_version(str(one), python)), None)


def _is_version(file: str, python: str) -> bool:
    code = "import sys; print('.'.join(map(str, sys.version_info[:2])))"
    done = subprocess.run([file, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() == python


def main() -> int:
    """Check the release; return 0 if everything passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "release")
    parser.add_argument("--python", action="append", metavar="X.Y", help=f"default: {', '.join(PYTHONS)}")
    parser.add_argument("--allow-missing", action="store_true", help="pass without Pythons that are not here")
    given = parser.parse_args()
    folder, wanted = given.folder.absolute(), tuple(given.python or PYTHONS)
    missing = [python for python in wanted if interpreter(python) is None]
    if missing and not given.allow_missing:
        sys.exit(f"no Python {', '.join(missing)} on this machine; install it, or give --allow-missing")
    sdist, wheel = build(folder)
    homes = [try_out(folder, python, wheel) for python in wanted if python not in missing]
    if homes:
        try_sdist(homes[-1], sdist, wheel)
    print(
        f"{wheel.name} and {sdist.name}: passed with Python {', '.join(p for p in wanted if p not in missing)}"
    )
    if missing:
        print(f"not tried, since it is not on this machine: Python {', '.join(missing)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
