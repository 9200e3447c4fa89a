from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from featx.reporting.report import Report
from featx.reporting.tables import Column, Score, Table, latex

HEAD = "\\documentclass{article}\n\\usepackage{booktabs}\n"


def test_every_table_compiles(made: Report, tmp_path: Path) -> None:
    program, finder = shutil.which("pdflatex"), shutil.which("kpsewhich")
    if (
        program is None
        or finder is None
        or subprocess.run([finder, "booktabs.sty"], capture_output=True).returncode
    ):
        pytest.skip("no compilation: pdflatex or its package booktabs is not installed")
    odd = Table(
        "odd", "Odd % names_", "", (Column("a", 'A "q" ~^', text=True),), (("\\x{} $5 & <b> # |±†–→",),)
    )
    best = Table("best", "Best", "", (Column("a", "A"),), ((Score(0.9, 0.1, 3, best=True, mark="†"),),))
    texts = [path.read_text(encoding="utf-8") for path in made.tables if path.suffix == ".tex"]
    body = "\n".join([*texts, latex(odd), latex(best)])
    (tmp_path / "all.tex").write_text(
        f"{HEAD}\\begin{{document}}\n{body}\n\\end{{document}}\n", encoding="utf-8"
    )
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Undefined control sequence" not in done.stdout
