"""The wheel holds every package and data file, and works from a fresh environment."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

import featx

ROOT = Path(__file__).resolve().parents[1]
CODE = {"featx": ROOT / "featx", "featx_cli": ROOT / "cli"}


def source_files() -> set[str]:
    return {
        f"{name}/{path.relative_to(folder).as_posix()}"
        for name, folder in CODE.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_setup_cfg_lists_every_package():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["options"]["packages"].split()
    found = {
        str(Path(name).parent).replace("/", ".") for name in source_files() if name.endswith("__init__.py")
    }
    assert set(listed) == found
    assert listed == sorted(listed)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)
    # What is not committed yet counts too: the tree is laid over its clone.
    for name in source_files():
        inside = name.replace("featx_cli/", "cli/", 1) if name.startswith("featx_cli/") else name
        (source / inside).parent.mkdir(parents=True, exist_ok=True)
        (source / inside).write_bytes((ROOT / inside).read_bytes())
    (source / "setup.cfg").write_bytes((ROOT / "setup.cfg").read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return next(folder.glob("featx-*.whl"))


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert source_files() <= names
    assert not any(name.startswith(("cli/", "tests/")) for name in names)
    assert "License-Expression: MIT" in metadata


@pytest.mark.slow
def test_the_wheel_works_in_a_fresh_environment(wheel, tmp_path):
    home = tmp_path / "env"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    site = next((home / "lib").glob("python*")) / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # The dependencies come from this environment; a plain path line runs no editable-install hook.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    code = """
import importlib, json, pkgutil, sys
import featx, featx_cli
from featx_cli.main import run
names = [m.name for p in (featx, featx_cli) for m in pkgutil.walk_packages(p.__path__, p.__name__ + ".")]
for name in names:
    importlib.import_module(name)
print(json.dumps({"featx": featx.__file__, "cli": featx_cli.__file__, "modules": len(names)}))
sys.exit(run(["--version"]))
"""
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[0])
    assert said["featx"].startswith(str(site))
    assert said["cli"].startswith(str(site))
    assert said["modules"] > 30


def installed_requirements() -> dict[str, str]:
    """Map the name of each dependency to its bounds, as setup.cfg has them."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = [line.partition(";")[0].split() for line in config["options"]["install_requires"].split("\n")]
    return dict(filter(None, lines))


def test_the_conda_recipe_has_the_bounds_of_setup_cfg():
    recipe = yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    listed = dict(line.split() for line in recipe["requirements"]["run"])
    assert listed.pop("python") == ">=3.11"
    names = {"matplotlib-base": "matplotlib", "python-xxhash": "xxhash"}
    assert {names.get(name, name): bounds for name, bounds in listed.items()} == installed_requirements()


def test_files_that_name_the_version_name_this_one():
    recipe = yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {recipe["context"]["version"], citation["version"]} == {featx.__version__}


def test_containers_have_the_mounts_that_the_page_names():
    page = (ROOT / "docs" / "installing.md").read_text(encoding="utf-8")
    for name in ("Dockerfile", "featx.def"):
        text = (ROOT / "packaging" / name).read_text(encoding="utf-8")
        for variable, folder in (("KERAS_HOME", "/weights"), ("FEATX_CACHE", "/cache")):
            assert f"{variable}={folder}" in text
            assert f"`{folder}`" in page
    assert "\nUSER 1000\n" in (ROOT / "packaging" / "Dockerfile").read_text(encoding="utf-8")


def test_the_workflow_calls_what_the_page_of_contributors_names():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    steps = [step.get("run") for job in workflow["jobs"].values() for step in job["steps"]]
    assert {"make test", "make test-slow", "make release-check", "make lowest"} <= set(steps)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {step.removeprefix("make ") for step in steps if step and step.startswith("make ")} <= set(targets)
