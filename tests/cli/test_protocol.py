from __future__ import annotations

import json
from pathlib import Path

import pytest

from featx.data import read_folds
from featx_cli.main import run


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = ["image,label,group"]
    for number in range(16):
        (tmp_path / f"i{number:02}.png").write_bytes(bytes([number % 15]))
        rows.append(f"i{number:02}.png,{'melanoma' if number % 2 else 'nevus'},g{number // 4}")
    (tmp_path / "m.csv").write_text("\n".join(rows))
    return tmp_path / "m.csv"


def make(manifest: Path, *arguments: str) -> int:
    folder = manifest.parent
    given = ["--output", str(folder / "folds.json"), "--cache", str(folder / "cache"), *arguments]
    return run(["protocol", "make", str(manifest), *given])


def test_make_writes_folds_that_keep_copies_together(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(manifest) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(manifest.parent / "folds.json")
    assert "10 folds of 16 images" in err
    for fold in read_folds(out.strip()).folds:
        assert ("i00" in fold.train) == ("i15" in fold.train)


def test_make_does_not_replace_unasked(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make(manifest, "--protocol", "kfold:2") == 0
    assert "was there already" not in capsys.readouterr().err
    assert make(manifest, "--protocol", "kfold:2") == 0
    assert "the file was there already, with the same content" in capsys.readouterr().err
    assert make(manifest) == 2
    assert "give --overwrite" in capsys.readouterr().err
    assert make(manifest, "--overwrite", "--seed", "3") == 0


def test_make_by_names_needs_no_images(manifest: Path) -> None:
    for path in manifest.parent.glob("*.png"):
        path.unlink()
    assert make(manifest) == 2
    assert make(manifest, "--names-only") == 0


def test_make_warns_of_missing_groups_and_doubtful_labels(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        manifest.read_text()
        .replace("label,group", "label,lesion_id")
        .replace("i00.png,nevus", "i00.png,nevs")
    )
    manifest.write_text(text)
    assert make(manifest, "--protocol", "kfold:2", "--task", "nevus:rest") == 0
    err = capsys.readouterr().err
    assert "warning: the manifest has no column 'group'" in err
    assert "'lesion_id' (4 values); rename" in err
    assert (
        "warning: labels similar to a named class count as 'rest': 'nevs' (1 image, similar to 'nevus')"
        in err
    )
    assert make(manifest, "--overwrite", "--task", "nevus:rest", "--strict-labels") == 2
    assert "'nevs'" in capsys.readouterr().err


def test_make_from_published_lists(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"i{number:02}" for number in range(16)]
    first, second = ", ".join([*names[:8], "gone.tiff"]), ", ".join(names[8:])
    lists = manifest.parent / "lists.yml"
    lists.write_text(f"Fold_1:\n - [{first}]\n - [{second}]\n")
    given = ("--protocol", str(lists), "--names-only")
    assert make(manifest, *given) == 2
    assert "or that the task leaves out: gone" in capsys.readouterr().err
    assert make(manifest, *given, "--absent", "drop") == 0
    assert "1 of 17 listed images are not in the manifest and were dropped: gone" in capsys.readouterr().err


def test_show_counts_classes(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(manifest, "--protocol", "kfold:2")
    folds = str(manifest.parent / "folds.json")
    capsys.readouterr()
    assert run(["protocol", "show", folds]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["fold", "train", "test"]
    assert run(["protocol", "show", folds, "--manifest", str(manifest)]) == 0
    line = capsys.readouterr().out.splitlines()[2].split()
    assert line == ["1", "8", "4", "4", "8", "4", "4"]
    assert run(["protocol", "show", folds, "--manifest", str(manifest), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["folds"][0]["train_classes"] == {"melanoma": 4, "nevus": 4}
    assert facts["digest"] == read_folds(folds).digest


def test_audit_of_a_folder_takes_the_labels_beside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "protocol1.yml").write_text("Fold_1:\n - [a1.tiff, b1]\n - [a1bis.tiff]\n")
    (tmp_path / "protocol1.csv").write_text("image,level\na1,0\nb1,1\na1bis,0\nc1,1\n")
    (tmp_path / "cases.csv").write_text("image;case\na1;x\na1bis;x\n")
    groups = ["--groups", str(tmp_path / "cases.csv"), "--group-column", "case"]
    assert run(["protocol", "audit", str(tmp_path), *groups]) == 0
    out = capsys.readouterr().out
    assert "1 folds, 1 distinct partitions, 3 images, 2 train, 1 test" in out
    assert run(["protocol", "audit", str(tmp_path / "protocol1.yml"), *groups, "--json"]) == 0
    (audit,) = json.loads(capsys.readouterr().out)
    assert [item["kind"] for item in audit["findings"]] == [
        "no-ending",
        "in-no-fold",
        "group-straddles",
        "second-picture",
    ]


def test_audit_says_when_there_is_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.yml").write_text("Fold_1: [[a], [b]]\n")
    assert run(["protocol", "audit", str(tmp_path)]) == 0
    assert "nothing found" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["empty folder", "wrong groups"])
def test_audit_of_the_wrong_thing(tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["protocol", "audit", str(tmp_path)]
    if what == "wrong groups":
        (tmp_path / "p.yml").write_text("Fold_1: [[a], [b]]\n")
        (tmp_path / "g.csv").write_text("image,lesion\na,1\n")
        arguments += ["--groups", str(tmp_path / "g.csv")]
    assert run(arguments) == 2
    expected = "g.csv: no column group in this table" if what == "wrong groups" else "no fold lists"
    assert expected in capsys.readouterr().err
