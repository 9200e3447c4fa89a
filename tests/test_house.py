"""The rules of the code's structure: unique names, faces of rooms, few floors, no circle, files of readable size."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "featx").rglob("*.py"), *(ROOT / "cli").glob("*.py")])
MODULES = [path for path in FILES if path.name != "__init__.py"]
ROOMS = sorted(path.parent for path in (ROOT / "featx").glob("*/__init__.py"))
MOST_LINES, MOST_FILES, MOST_FLOORS = 600, 14, 5


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> tuple[tuple[str, list[str]], ...]:
    """List what a file imports."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the absolute name of each module that a file imports from, and the names."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            yield (
                ".".join([*base, *((node.module or "").split(".") if node.module else [])]),
                [alias.name for alias in node.names],
            )
        elif isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)


def face(room: Path) -> dict[str, str]:
    """Map each name of a room's face to the file that has it."""
    found = {}
    for node in tree(room / "__init__.pyi").body:
        if isinstance(node, ast.ImportFrom):
            found |= {alias.name: str(node.module) for alias in node.names}
    return found


def room_of(path: Path) -> Path | None:
    parts = path.relative_to(ROOT).parts
    return ROOT / "featx" / parts[1] if parts[0] == "featx" and len(parts) > 2 else None


def repeated(places: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: where for name, where in places.items() if len(where) > 1}


def test_file_names_are_unique() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        places[path.stem].append(str(path.relative_to(ROOT)))
    assert repeated(places) == {}


def test_public_class_names_are_unique() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert repeated(places) == {}


def test_other_rooms_are_imported_by_their_face() -> None:
    rooms = {room.name for room in ROOMS}
    wrong = []
    for path in FILES:
        for module, names in imports(path):
            parts = module.split(".")
            if parts[0] != "featx" or len(parts) < 2 or parts[1] not in rooms:
                continue
            room = ROOT / "featx" / parts[1]
            if room_of(path) != room and (len(parts) > 2 or not set(names) <= set(face(room))):
                wrong.append(f"{path.relative_to(ROOT)}: from {module} import {', '.join(names)}")
    assert wrong == []


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_no_name_of_a_face_is_a_file(room: Path) -> None:
    """The file, once imported, would take the place of the name."""
    assert [name for name in face(room) if (room / f"{name}.py").exists() or (room / name).is_dir()] == []


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_face_has_no_name_that_nobody_uses(room: Path) -> None:
    used: set[str] = set()
    outside = [
        *(path for path in FILES if room_of(path) != room),
        ROOT / "featx" / "__init__.pyi",
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "benchmarks").rglob("*.py"),
    ]
    documented = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    for path in outside:
        for module, names in imports(path):
            if module in {f"featx.{room.name}", f".{room.name}"}:
                used |= set(names)
    unused = set(face(room)) - used
    assert [name for name in sorted(unused) if not re.search(rf"\b{name}\b", documented)] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_longer_than_can_be_read(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def packages() -> list[Path]:
    return sorted(path.parent for path in (ROOT / "featx").rglob("__init__.py"))


@pytest.mark.parametrize("package", packages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_has_few_files(package: Path) -> None:
    assert len([path for path in MODULES if path.parent == package]) <= MOST_FILES


@pytest.mark.parametrize("package", packages()[1:], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_has_few_floors_and_no_circle(package: Path) -> None:
    """A package inside a room counts as one part of it."""
    below = parts_below(package)

    def floor(part: str, above: tuple[str, ...] = ()) -> int:
        assert part not in above, f"circle: {above}"
        return 1 + max((floor(one, (*above, part)) for one in below[part]), default=0)

    assert max((floor(part) for part in below), default=0) <= MOST_FLOORS


def parts_below(package: Path) -> dict[str, set[str]]:
    """Map each file and package inside a package to those that it imports."""
    here = ".".join(package.relative_to(ROOT).parts)
    below: dict[str, set[str]] = defaultdict(set)
    for path in MODULES:
        if path.is_relative_to(package):
            part = path.relative_to(package).parts[0].removesuffix(".py")
            below[part] |= {name for name in reached(path, here) if name != part}
    return {part: {name for name in names if name in below} for part, names in below.items()}


def reached(path: Path, package: str) -> Iterator[str]:
    """Yield the parts of a package that a file imports from, whether as modules or by their names."""
    for module, names in imports(path):
        if module == package:
            yield from names
        elif module.startswith(f"{package}."):
            yield module.removeprefix(f"{package}.").split(".")[0]
