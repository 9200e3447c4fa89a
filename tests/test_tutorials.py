"""Every command and program of the README and of the tutorials runs, in the order of the page.

Networks that would have to be downloaded are replaced by `tiny` with random weights, and trainings are cut to an epoch.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pandas as pd
import pytest

from featx.data import draw_dermoscopy
from featx_cli.main import run

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^( *)```(console|python|toml)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
REPLACED = (
    (r"(resnet50|mobilenet_v2)\b", "tiny"),
    (r"backbones = \[.*\]", 'backbones = ["tiny"]'),
    (r"(--weights|-w) imagenet", r"\1 random"),
    (r'weights="imagenet"', 'weights="random"'),
    (r'weights = "imagenet"', 'weights = "random:1"'),
    (r'backbone="tiny"\)', 'backbone="tiny", weights="random")'),
    (r"featx finetune (.*)", r"featx finetune \1 --epochs 1 --head-epochs 0 --batch-size 8"),
    (r"featx\.finetune\((.*)\)", r"featx.finetune(\1, epochs=1, head_epochs=0, batch_size=8)"),
    (r"\b5x2\b", "1x2"),
)
# What is not run here, and where it is run.
ELSEWHERE = (
    ("make ", "the targets themselves: CI"),
    ("python3 -m venv", "test_packaging.py"),
    (". .venv", "test_packaging.py"),
    ("pip install", "test_packaging.py"),
    ("featx demo", "tests/study/test_demo.py"),
    ("featx study run menegola2017", "tests/study: its plan; the images are not public"),
)


def lesions(folder: Path) -> None:
    """Make `lesions.csv` as the pages assume it."""
    draw_dermoscopy(folder, images=40, size=32).rename(folder / "lesions.csv")


def own_table(folder: Path) -> None:
    """Make a table and photographs of a user's own, and a folder of new images."""
    table = pd.read_csv(draw_dermoscopy(folder, images=40, size=32))
    (folder / "images").rename(folder / "photos")
    own = {"file": table["id"] + ".jpg", "diagnosis": table["label"], "patient": table["group"]}
    pd.DataFrame(own).assign(body_site=["arm", "back"] * 20).to_csv(folder / "my_table.csv", index=False)
    (folder / "manifest.csv").unlink()
    draw_dermoscopy(folder / "drawn", images=3, size=32, seed=1)
    (folder / "drawn" / "images").rename(folder / "new_images")


# Pages that follow each other in one folder, and what is in it at the start.
TOURS = {
    ("README.md",): lesions,
    ("docs/start-here.md", "docs/file-formats.md", "docs/extending.md"): None,
    ("docs/your-own-images.md",): own_table,
    ("docs/a-study.md",): lesions,
    ("docs/python.md",): lesions,
    ("docs/statistics-explained.md",): None,
}


def joined(text: str) -> list[str]:
    """List the commands of a console block, without their output."""
    return re.findall(r"^\s*\$ ([^\n#]*)", re.sub(r"\\\n\s*", "", text), re.MULTILINE)


def replaced(text: str) -> str:
    for pattern, new in REPLACED:
        text = re.sub(pattern, new, text)
    return text


def walk(page: Path, names: dict[str, object]) -> int:
    """Run everything on a page, and count it."""
    done = 0
    for indent, kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        text = re.sub(f"^{indent}", "", text, flags=re.MULTILINE)
        if kind == "toml":
            Path("mine.toml").write_text(replaced(text), encoding="utf-8")
        elif kind == "python" and text.startswith("# file: "):
            Path(text.split()[2]).write_text(text, encoding="utf-8")
        elif kind == "python":
            exec(compile(replaced(text), page.name, "exec"), names)
            done += 1
        else:
            for line in joined(text):
                if line.startswith(tuple(start for start, _ in ELSEWHERE)):
                    continue
                words = shlex.split(replaced(line))
                assert words[0] == "featx", f"{page.name}: {line}"
                assert run(words[1:]) == 0, f"{page.name}: {line}"
                done += 1
    return done


@pytest.mark.slow
@pytest.mark.parametrize("pages", TOURS, ids=lambda pages: Path(pages[0]).stem)
def test_everything_on_the_page_runs(pages, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr("featx.data.importers.registry.IMPORTERS", _importers())
    monkeypatch.setattr("featx.reporting.report_contents.CONTENTS", _contents())
    if prepare := TOURS[pages]:
        prepare(tmp_path)
    names: dict[str, object] = {}
    counts = {page: walk(ROOT / page, names) for page in pages}
    assert all(counts.values()), counts


def _importers():
    from featx.data.importers import registry

    return registry.IMPORTERS


def _contents():
    from featx.reporting import report_contents

    return report_contents.CONTENTS


def test_the_tutorials_are_walked():
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs" / "tutorials.md").read_text(encoding="utf-8"))
    walked = {page for pages in TOURS for page in pages}
    assert {f"docs/{name}" for name in listed} <= walked
