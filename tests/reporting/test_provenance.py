from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from featx.reporting.page import origins, relative_paths
from featx.reporting.summary import summarise
from featx.runs import Run

Write = Callable[..., Run]


def test_what_runs_share_is_said_once_and_what_differs_as_such(write: Write, tmp_path: Path) -> None:
    for number, fold in enumerate(("1x1", "1x2", "2x1")):
        write(
            "E",
            fold,
            lineage=("imagenet", f"atlas, fold {fold}"),
            features={"digest": f"{number}" * 64, "recipe": {"backbone": "tiny", "weights": f"{number}"}},
            settings={"search": {"splits": 10}},
            counts={"train": {"benign": 40 + number, "malignant": 20}},
        )
    (origin,) = origins(summarise([tmp_path / "runs"]))
    facts = dict(origin.facts)
    assert facts["Weights lineage"] == tuple(
        f"imagenet → atlas, fold {fold}" for fold in ("1x1", "1x2", "2x1")
    )
    assert facts["Feature recipe"] == (
        "backbone: tiny",
        "weights: 3 values; see run.json of each run",
    )
    assert facts["Settings"] == ("search.splits: 10",)
    assert facts["Counts"] == ("train.benign: 40 to 42", "train.malignant: 20")
    assert [row[0] for row in origin.runs] == ["1x1", "1x2", "2x1"]
    assert origin.hint == "3 runs"


def test_fine_tuning_has_its_own_provenance(write: Write, tmp_path: Path) -> None:
    write("E", "1x1")
    write("tuned", "1x1", [], folder="weights", kind="finetune")
    found = origins(summarise([tmp_path]))
    assert [item.id for item in found] == ["origin-1", "training-1"]
    assert found[1].title == "tuned: fine-tuning on malignant-vs-benign"


def test_places_do_not_depend_on_where_the_runs_lie(write: Write, tmp_path: Path) -> None:
    runs = (write("A", "1x1"), write("B", "1x1"))
    assert list(relative_paths(runs).values()) == [
        "A/malignant-vs-benign/5x2/1x1",
        "B/malignant-vs-benign/5x2/1x1",
    ]
    assert list(relative_paths(runs[:1]).values()) == ["1x1"]
    assert relative_paths(()) == {}
