from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.cells import unguarded
from featx.reporting.summary import Summary
from featx.reporting.tables import (
    Column,
    Score,
    Table,
    csv_text,
    latex,
    markdown,
    plain,
    shown,
    to_frame,
    write_tables,
)

from .conftest import every

COLUMNS = (Column("arm", "Arm", text=True), Column("mean", "AUC"), Column("folds", "Folds"))


def table(*rows: tuple[object, ...], note: str = "") -> Table:
    return Table("auc", "AUC of arms", note, COLUMNS, rows)  # type: ignore[arg-type]


def test_no_value_is_a_dash_for_people_and_an_empty_field_for_machines() -> None:
    made = table(("A", None, 0), ("B", float("nan"), 10))
    assert csv_text(made).splitlines()[1:] == ["A,,0", "B,,10"]
    assert [line.split()[1] for line in plain(made).splitlines()[2:]] == ["–", "–"]


def test_a_unit_is_for_people_alone() -> None:
    made = Table("t", "", "", (Column("parameters", "Parameters (M)", 2, unit=1e6),), ((2_257_984,), (None,)))
    assert [line.strip() for line in plain(made).splitlines()[2:]] == ["2.26", "–"]
    assert csv_text(made).splitlines()[1] == "2257984"


def test_csv_keeps_the_full_number() -> None:
    assert csv_text(table(("A", 1 / 3, 10))).splitlines()[1] == f"A,{1 / 3!r},10"


@given(st.lists(st.text(min_size=1).filter(lambda text: "\x00" not in text), min_size=1, max_size=4))
def test_csv_gives_every_name_back(names: list[str]) -> None:
    text = csv_text(table(*((name, 0.5, 1) for name in names)))
    assert [unguarded(row[0]) for row in csv.reader(io.StringIO(text, newline=""))][1:] == names


@given(st.text(alphabet="ab|\\`*_<>[]\n#~", max_size=12))
def test_no_name_breaks_a_markdown_row(name: str) -> None:
    row = markdown(table((name, 0.5, 1))).splitlines()[4]
    bare = row.replace("\\\\", "").replace("\\|", "")
    assert bare.count("|") == 4
    assert row.startswith("| ")


@pytest.mark.parametrize(
    ("raw", "escaped"),
    [
        ("50%", r"50\%"),
        ("a_b & c", r"a\_b \& c"),
        ("{x}$#~^", r"\{x\}\$\#\textasciitilde{}\textasciicircum{}"),
        ("\\input{secret}", r"\textbackslash{}input\{secret\}"),
        ("0.5 ± 0.1", r"0.5 $\pm$ 0.1"),
        ("η² = ∞", r"$\eta$$^2$ = $\infty$"),
    ],
)
def test_latex_escapes(raw: str, escaped: str) -> None:
    assert f"{escaped} & 0.500 & 1 \\\\" in latex(table((raw, 0.5, 1)))


def test_latex_has_the_rules_and_a_label_of_plain_letters() -> None:
    text = latex(Table("folds ü", "Title", "Note", COLUMNS, (("A", 0.5, 1),)))
    assert [word for word in ("\\toprule", "\\midrule", "\\bottomrule") if word not in text] == []
    assert "\\label{tab:folds--}" in text
    assert "\\begin{tabular}{@{}lrr@{}}" in text


def test_the_best_score_is_bold() -> None:
    best, other = Score(0.9, 0.01, 10, best=True), Score(0.8, 0.01, 10)
    made = table(("A", best, 1), ("B", other, 1))
    assert "**0.900 ± 0.010 (10)**" in markdown(made)
    assert "\\textbf{0.900 $\\pm$ 0.010 (10)}" in latex(made)
    assert "**0.800" not in markdown(made)


def test_a_score_of_one_fold_has_no_spread_and_one_of_none_is_a_dash() -> None:
    column = Column("mean", "AUC")
    assert shown(Score(0.9, float("nan"), 1), column) == "0.900 (1)"
    assert shown(Score(float("nan"), float("nan"), 0), column) == "–"


def test_a_negative_number_has_a_minus_sign() -> None:
    assert shown(-0.0123, Column("difference", "Difference")) == "−0.012"


def test_a_frame_has_the_names_of_the_csv() -> None:
    frame = to_frame(table(("A", 0.5, 1)))
    assert list(frame.columns) == ["arm", "mean", "folds"]
    assert frame.loc[0, "mean"] == 0.5


def test_a_table_is_written_in_each_format(tmp_path: Path) -> None:
    paths = write_tables((table(("A", 0.5, 1)),), tmp_path / "tables")
    assert [path.name for path in paths] == ["auc.csv", "auc.tex", "auc.md"]
    assert all(path.read_text(encoding="utf-8") for path in paths)


def test_the_answer_stands_behind_the_names_in_every_table(
    arms: Callable[..., Summary], answers: Callable[[Sequence[str]], set[str]]
) -> None:
    for made in every(arms(5)):
        names = [column.name for column in made.columns]
        if "low" in names or "smallest" in names:
            places = sorted(names.index(name) for name in answers(names))
            first = next(place for place, column in enumerate(made.columns) if not column.text)
            assert places[0] == first, made.name
            assert places[-1] < first + 8, made.name


@pytest.mark.parametrize(("classes", "name"), [(2, "malignant"), (4, "rarest class")])
def test_positives_name_their_class(arms: Callable[..., Summary], classes: int, name: str) -> None:
    for made in every(arms(3, classes)):
        names = [column.name for column in made.columns]
        if "positives" in names:
            assert {"positive", "class"} & set(names), made.name
        if "positive" in names:
            count, of = names.index("positives"), names.index("positive")
            known = {row[of] for row in made.rows if row[count] is not None}
            assert known <= {name}, made.name
            assert known or classes > 2, made.name
