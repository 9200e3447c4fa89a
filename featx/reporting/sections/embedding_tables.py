"""Tables of embedding maps: nearest training images of mistakes, and label-noise candidates."""

from __future__ import annotations

from collections.abc import Callable

from featx.reporting.summary import Summary
from featx.reporting.tables import Cell, Column, Filled

from .columns import PLACE, place
from .mistakes import find_mistakes

__all__ = ["EMBEDDING_NEED", "EMBEDDING_TABLES"]

EMBEDDING_NEED = "`featx report --embedding`"

# Candidates of an arm in the table, and neighbours named for each mistake.
_SHOWN, _NAMED = 20, 5


def _neighbours(summary: Summary) -> Filled:
    """Fill the table of the nearest training images of the most confident mistakes."""
    rows: list[tuple[Cell, ...]] = []
    for series, one in summary.maps:
        for item in find_mistakes(series):
            near = [row for row in one.neighbours if row.image == item.id]
            if near:
                named = ", ".join(f"{row.id} ({row.actual}, {row.similarity:.2f})" for row in near[:_NAMED])
                agreeing = sum(row.actual == item.actual for row in near) / len(near)
                rows.append(
                    (
                        *place(series),
                        item.id,
                        item.actual,
                        item.taken,
                        near[0].fold,
                        len(near),
                        agreeing,
                        named,
                    )
                )
    columns = (
        *(*PLACE, Column("image", "Image", text=True)),
        *(Column("class", "True class", text=True), Column("taken", "Predicted class", text=True)),
        *(Column("fold", "Fold", text=True), Column("neighbours", "Neighbours")),
        Column("agreeing", "Of the true class"),
        Column("nearest", f"Nearest {_NAMED}: id (class, cosine)", text=True),
    )
    return Filled(columns, rows)


def _noise(summary: Summary) -> Filled:
    """Fill the table of label-noise candidates, the most doubtful of each arm."""
    rows: list[tuple[Cell, ...]] = []
    more = []
    for series, one in summary.maps:
        scored = sum(point.value == point.value for point in one.points)
        more.append(
            f"{series.arm}, {series.task}: {len(one.noise)} candidates among {scored} scored images, {one.k} neighbours each."
        )
        rows += [
            (
                *place(series),
                item.id,
                item.label,
                item.suggested,
                item.agreeing,
                item.expected,
                item.value,
                item.folds,
                item.scored,
            )
            for item in one.noise[:_SHOWN]
        ]
    columns = (
        *(*PLACE, Column("image", "Image", text=True)),
        *(Column("label", "Label", text=True), Column("suggested", "Predicted class", text=True)),
        *(
            Column("agreeing", "Agreeing neighbours"),
            Column("expected", "By chance"),
            Column("value", "Decision value for its label"),
        ),
        *(Column("folds", "Folds"), Column("scored", "Scored by", text=True)),
    )
    return Filled(columns, rows, " ".join(more))


# Name, title, caption, needs and function of each table, as `TableEntry` has them.
EMBEDDING_TABLES: tuple[tuple[str, str, str, str, Callable[[Summary], Filled]], ...] = (
    (
        "neighbours",
        "Nearest training images of mistakes",
        "For the most confident mistakes the training images with the most similar features (cosine, as the SVM sees them), in "
        "the fold that is surest of the mistake. Images of the same group are left out.",
        EMBEDDING_NEED,
        _neighbours,
    ),
    (
        "label-noise",
        "Label-noise candidates",
        "Images of which neither the nearest training images nor the SVM without the image in its training set have the label; "
        f"the {_SHOWN} most doubtful of each arm, all of them in the folder of the map. Agreeing neighbours: fraction with its "
        "label, mean over the folds that score it; a candidate has fewer than half and fewer than by chance, the frequency of "
        "the label in the training set. Decision value for its label: mean over these folds; negative for another class. Scored "
        "by: the fold's test set, or inner cross-validation of the training set. Rare and difficult images are candidates too: "
        "look at them, and never remove or relabel test images by this list.",
        EMBEDDING_NEED,
        _noise,
    ),
)
