from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from featx.reporting.make_report import Report
from featx.reporting.summary import Summary
from featx.reporting.tables import Column, Score, Table, latex

from .conftest import every

HEAD = "\\documentclass{article}\n\\usepackage{array,booktabs}\n"
ODD = Table("odd", "Odd % names_", "", (Column("a", 'A "q" ~^', text=True),), (("\\x{} $5 & <b> # |±†–→",),))


def compiled(folder: Path, texts: list[str]) -> list[str]:
    """What pdflatex says of tables on a page of the class article, or a skip where it is not installed."""
    program, finder = shutil.which("pdflatex"), shutil.which("kpsewhich")
    if (
        program is None
        or finder is None
        or subprocess.run([finder, "booktabs.sty"], capture_output=True).returncode
    ):
        pytest.skip("no compilation: pdflatex or its package booktabs is not installed")
    body = "\\clearpage\n".join(texts)
    (folder / "all.tex").write_text(
        f"{HEAD}\\begin{{document}}\n{body}\n\\end{{document}}\n", encoding="utf-8"
    )
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout.splitlines()


def unfit(lines: list[str]) -> list[str]:
    """Lines that tell of text beyond the page's edges."""
    return [line for line in lines if line.startswith("Overfull") or "Float too large" in line]


def test_every_table_compiles_and_fits_a_page(made: Report, tmp_path: Path) -> None:
    best = Table("best", "Best", "", (Column("a", "A"),), ((Score(0.9, 0.1, 3, best=True, mark="†"),),))
    texts = [path.read_text(encoding="utf-8") for path in made.tables if path.suffix == ".tex"]
    said = compiled(tmp_path, [*texts, latex(ODD), latex(best)])
    assert not [line for line in said if "Undefined control sequence" in line]
    assert unfit(said) == []


@pytest.mark.parametrize(("count", "classes"), [(1, 2), (5, 4), pytest.param(12, 2, marks=pytest.mark.slow)])
def test_tables_of_long_names_fit_a_page(
    arms: Callable[..., Summary], count: int, classes: int, tmp_path: Path
) -> None:
    texts = [latex(table) for table in every(arms(count, classes))]
    assert unfit(compiled(tmp_path, texts)) == []


def test_words_longer_than_a_column_are_broken(tmp_path: Path) -> None:
    columns = (Column("arm", "Arm", text=True), *(Column(str(n), f"Unbreakably{n}headed") for n in range(9)))
    wide = Table("wide", "Wide", "", columns, tuple(("weights_" * 30 + str(row), *[0.5] * 9) for row in "ab"))
    assert unfit(compiled(tmp_path, [latex(wide)])) == []


def test_the_answer_stands_in_the_first_of_several_tables(arms: Callable[..., Summary]) -> None:
    (pairs,) = (latex(table) for table in every(arms(3)) if table.name.startswith("pairs-"))
    first, *others = pairs.split("\\begin{table}")[1:]
    assert others
    for part in (first, *others):
        assert part.count("\\\\\n") == 4
        assert all(line.startswith("Arm a & Arm b &") for line in part.splitlines() if "Arm a" in line)
    head = " ".join(first.partition("\\toprule\n")[2].partition("\\midrule")[0].split())
    assert [name for name in ("a $-$ b", "low", "high", "Adjusted") if name not in head] == []
    assert "tab:pairs-malignant-vs-benign-2" in others[0]


def test_what_is_the_same_in_every_row_of_a_wide_table_is_said_in_its_caption() -> None:
    columns = (*(Column(name, name, text=True) for name in ("Task", "Arm", "Note")), Column("auc", "AUC"))
    rows = tuple(
        ("malignant-vs-benign", arm, "a long note " * 9, value) for arm, value in (("A", 0.5), ("B", 0.5))
    )
    text = latex(Table("t", "Title", "Note.", columns, rows))
    assert "Note. In every row: Task: malignant-vs-benign; Note: a long note" in text
    assert "A & 0.500 \\\\\nB & 0.500 \\\\\n" in text
