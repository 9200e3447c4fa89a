"""Files of features of other programs: layouts that are read, and faults that are named."""

from __future__ import annotations

import h5py
import numpy as np
import pandas as pd
import pytest

from featx.errors import FeatxError, InputError
from featx.features.imported.feature_files import feature_paths, read_feature_files

ROWS = np.array([[0.5, 2.0, -1.0], [1.5, 3.0, 0.25]], np.float32)
NAMES = ("a", "b")


def read(*paths, pool="none"):
    return read_feature_files(feature_paths(paths), pool)


def check(table, rows=ROWS, names=NAMES):
    assert table.names == names
    np.testing.assert_array_equal(table.features[:, 0], rows)
    assert table.features.dtype == np.float32


def write_npz(path, names="ids", features="features"):
    np.savez(path, **{names: np.array(NAMES), features: ROWS})


def write_by_key(path):
    """One vector for each path, as the precomputed embeddings of Derm Foundation."""
    np.savez(path, **dict(zip(NAMES, ROWS, strict=True)))


def write_h5(path):
    with h5py.File(path, "w") as file:
        file["features"], file["ids"] = ROWS, list(NAMES)


def write_lists(path):
    pd.DataFrame({"filename": NAMES, "logit": list(ROWS)}).set_index("filename").to_parquet(path)


def write_list_text(path):
    """As `inference.py` of timm writes them."""
    pd.DataFrame({"filename": NAMES, "logit": list(ROWS)}).to_csv(path, index=False)


def write_columns(path):
    """As `inference.py --results-separate-col` of timm, beside a label."""
    table = pd.DataFrame(ROWS, columns=[f"logit_{number}" for number in range(3)])
    table.insert(0, "filename", NAMES)
    table["label"] = [0, 1]
    table.to_csv(path, index=False)


def write_semicolons(path):
    path.write_text("ID;mean;width;height\na;0.5;2.0;-1.0\nb;1.5;3.0;0.25\n", encoding="utf-8-sig")


LAYOUTS = {
    "features.npz": write_npz,
    "embeddings.npz": lambda path: write_npz(path, "filenames", "embeddings"),
    "feats.npz": lambda path: write_npz(path, "paths", "feats"),
    "derm.npz": write_by_key,
    "timm.parquet": write_lists,
    "timm.csv": write_list_text,
    "columns.csv": write_columns,
    "radiomics.csv": write_semicolons,
    "all.h5": write_h5,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(tmp_path, name):
    LAYOUTS[name](tmp_path / name)
    check(read(tmp_path / name))


def test_columns_beside_numbered_ones_are_left_out_and_named(tmp_path):
    write_columns(tmp_path / "columns.csv")
    assert read(tmp_path / "columns.csv").ignored == ("label",)


def test_blanks_and_apostrophes_before_formulas_are_read_as_in_manifests(tmp_path):
    (tmp_path / "a.csv").write_text(" id , f0, f1,'@site\n 007 ,0.5,2,x\n'=1+1,1.5,3,y\n")
    table = read(tmp_path / "a.csv")
    assert (table.names, table.ignored) == (("007", "=1+1"), ("@site",))
    np.testing.assert_array_equal(table.features[:, 0], [[0.5, 2], [1.5, 3]])
    np.save(tmp_path / "b.npy", ROWS)
    (tmp_path / "b.csv").write_text(" 007\n'=1+1 \n")
    assert read(tmp_path / "b.npy", tmp_path / "b.csv").names == table.names
    np.savez(tmp_path / "c.npz", ids=[" 007", "=1+1 "], features=ROWS)
    assert read(tmp_path / "c.npz").names == table.names
    (tmp_path / "d.csv").write_text("id,f0,f1, f1\na,1,2,3\n")
    with pytest.raises(InputError, match=r"d.csv: has two columns 'f1'; remove one"):
        read(tmp_path / "d.csv")


def test_numbered_columns_are_taken_in_the_order_of_their_numbers(tmp_path):
    names = [f"f{number}" for number in range(12)]
    table = pd.DataFrame([range(12)], columns=names)[sorted(names)]
    table.insert(3, "id", ["a"])
    table.to_csv(tmp_path / "f.csv", index=False)
    assert read(tmp_path / "f.csv").features.ravel().tolist() == list(range(12))


@pytest.mark.parametrize("text", ["a\nb\n", "id\na\nb\n", "id,label\na,1\nb,0\n"])
def test_an_array_with_a_table_of_names(tmp_path, text):
    np.save(tmp_path / "x.npy", ROWS)
    (tmp_path / "x.csv").write_text(text)
    check(read(tmp_path / "x.csv", tmp_path / "x.npy"))
    assert read(tmp_path / "x.npy").names is None


def test_an_array_and_names_of_another_number(tmp_path):
    np.save(tmp_path / "x.npy", ROWS)
    (tmp_path / "x.csv").write_text("a\nb\nc\n")
    with pytest.raises(InputError, match=r"x.npy: has 2 rows of features and 3 names"):
        read(tmp_path / "x.npy", tmp_path / "x.csv")


def test_patches_of_a_slide_are_pooled_only_when_asked_for(tmp_path):
    for name in NAMES:
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["features"], file["coords"] = (
                np.float16([[1.0, 3.0], [2.0, 5.0], [3.0, 1.0]]),
                np.zeros((3, 2)),
            )
    with pytest.raises(InputError, match=r"a.h5: has 3 rows \(patches\) for one image.*--pool mean"):
        read(tmp_path)
    table = read(tmp_path, pool="mean")
    check(table, np.array([[2.0, 3.0]] * 2))
    assert table.dtype == "float16"


def test_one_vector_of_a_slide_needs_no_pooling(tmp_path):
    with h5py.File(tmp_path / "slide1.h5", "w") as file:
        file["features"] = ROWS[0]
    check(read(tmp_path / "slide1.h5"), ROWS[:1], ("slide1",))


def test_tensors_of_eva(tmp_path):
    torch = pytest.importorskip("torch")
    (tmp_path / "train").mkdir()
    for name, row in zip(NAMES, ROWS, strict=True):
        torch.save(torch.from_numpy(row)[None], tmp_path / "train" / f"{name}.pt")
    (tmp_path / "manifest.csv").write_text(
        "origin,embeddings,target,split\na,train/a.pt,0,train\nb,train/b.pt,1,train\n"
    )
    table = read(tmp_path / "manifest.csv")
    check(table)
    before = table.digest
    torch.save(torch.zeros(3), tmp_path / "train" / "b.pt")
    assert read(tmp_path / "manifest.csv").digest != before
    (tmp_path / "manifest.csv").write_text("origin,embeddings\na,../a.pt\n")
    with pytest.raises(InputError, match="outside the folder"):
        read(tmp_path / "manifest.csv")


def test_several_files_are_joined(tmp_path):
    np.savez(tmp_path / "1.npz", ids=["a"], features=ROWS[:1])
    np.savez(tmp_path / "2.npz", ids=["b"], features=ROWS[1:])
    check(read(tmp_path / "1.npz", tmp_path / "2.npz"))
    np.savez(tmp_path / "2.npz", ids=["a"], features=ROWS[1:])
    with pytest.raises(InputError, match=r"2.npz row 0: the name 'a' is already that of .*1.npz row 0"):
        read(tmp_path)
    np.savez(tmp_path / "2.npz", ids=["b"], features=ROWS[1:, :2])
    with pytest.raises(InputError, match=r"shape \(1, 2\).*shape \(1, 3\)"):
        read(tmp_path)


def test_views_of_an_export_stay_together(tmp_path):
    views = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    np.savez(tmp_path / "x.npz", ids=NAMES, features=views)
    np.testing.assert_array_equal(read(tmp_path / "x.npz").features, views)
    pd.DataFrame(
        {"id": np.repeat(NAMES, 2), "view": [0, 1, 0, 1], "features": list(views.reshape(4, 2))}
    ).to_parquet(tmp_path / "x.parquet")
    table = read(tmp_path / "x.parquet")
    assert table.names == NAMES
    np.testing.assert_array_equal(table.features, views)


def bad(name, text=None, **arrays):
    """Give a case: a file's name, and its text or arrays."""
    return name, text, arrays


FAULTS = {
    "names repeat": (
        bad("x.csv", "id,f0,f1\na,1,2\na,3,4\n"),
        r"x.csv row 3: the name 'a' is already.*row 2",
    ),
    "no name": (bad("x.csv", "id,f0,f1\na,1,2\n,3,4\n"), "row 3 has no name"),
    "NaN": (bad("x.npz", ids=NAMES, features=[[1, 2], [3, np.nan]]), r"number 1 of row 1 \('b'\) is nan"),
    "infinite": (bad("x.npz", ids=NAMES, features=[[1, np.inf], [3, 4]]), r"row 0 \('a'\) is inf"),
    "too large": (
        bad("x.npz", ids=NAMES, features=[[1.0, 2.0], [3.0, 1e300]]),
        "1e\\+300, which is not finite in",
    ),
    "empty cell": (
        bad("x.csv", "id,f0,f1\na,1,2\nb,,4\n"),
        r"number 0 of row 3 \('b'\) is '', which is not a number",
    ),
    "text": (bad("x.csv", "id,f0,f1\na,1,x\nb,3,4\n"), r"number 1 of row 2 \('a'\) is 'x'"),
    "texts": (bad("x.npz", ids=NAMES, features=[["1", "x"], ["2", "y"]]), "which is not a number"),
    "switches": (bad("x.npz", ids=NAMES, features=[[True], [False]]), "which is not a number"),
    "other number of names": (bad("x.npz", ids=["a"], features=[[1, 2], [3, 4]]), "has 2 rows"),
    "no rows": (bad("x.csv", "id,f0,f1\n"), "must be a row of numbers"),
    "label": (bad("x.csv", "id,area,label\na,1,0\nb,2,1\n"), "'label' does not look like a feature"),
    "two families": (bad("x.csv", "id,f0,f1,g0,g1\na,1,2,3,4\n"), r"several families.*f0.*g0"),
    "gap": (bad("x.csv", "id,f0,f1,f3\na,1,2,3\n"), "a gap before 'f3'"),
    "no column of names": (bad("x.csv", "f0,f1\n1,2\n"), "no column names the images.*f0, f1"),
    "only names": (bad("x.csv", "id\na\n"), "no columns of features"),
    "two columns of lists": (bad("x.csv", 'id,u,v\na,"[1 2]","[3 4]"\n'), "several columns of lists"),
    "bad list": (bad("x.csv", 'id,u\na,"[1 2]"\nb,"[1 x]"\n'), r"row 3 \('b'\) has '\[1 x\]'"),
    "short list": (
        bad("x.csv", 'id,u\na,"[1 2]"\nb,"[1]"\n'),
        r"row 3 \('b'\) has 1 numbers and the first row 2",
    ),
    "views of two images": (
        bad("x.csv", 'id,view,u\na,0,"[1 2]"\nb,1,"[3 4]"\n'),
        "'view' must count 0 to 1 for each",
    ),
    "views below 0": (bad("x.csv", 'id,view,u\na,-1,"[1 2]"\nb,-1,"[3 4]"\n'), "'view' must count"),
    "arrays of any shape": (bad("x.npz", first=[1, 2], second=[1, 2, 3]), "has the arrays first, second"),
    "objects": (bad("x.npz", ids=np.array(["a", 1], object), features=[[1], [2]]), "could run code"),
    "no archive": (bad("x.npz", "nothing"), "x.npz: "),
    "no HDF5": (bad("x.h5", "nothing"), "x.h5: cannot be read"),
    "no Parquet": (bad("x.parquet", "nothing"), "x.parquet: cannot be read"),
    "another ending": (bad("x.pkl", "nothing"), r"not read; known endings: .npz"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named_in_one_line(tmp_path, fault):
    (name, text, arrays), message = FAULTS[fault]
    if text is None:
        np.savez(tmp_path / name, **arrays)
    else:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_data_of_other_files_are_not_read(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["features"] = h5py.ExternalLink("other.h5", "/features")
    with pytest.raises(InputError, match="link to another file"):
        read(tmp_path / "x.h5")


def test_missing_files_and_empty_folders(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "x.npz")
    with pytest.raises(InputError, match="no file of features"):
        read(tmp_path)
    with pytest.raises(InputError, match="given twice"):
        read(tmp_path / "x.npz", tmp_path / "x.npz")


def test_equal_content_has_one_digest_wherever_it_is(tmp_path):
    write_npz(tmp_path / "1.npz")
    (tmp_path / "2.npz").write_bytes((tmp_path / "1.npz").read_bytes())
    assert read(tmp_path / "1.npz").digest == read(tmp_path / "2.npz").digest


@pytest.mark.parametrize("size", [10, 60, 200])
def test_cut_files_are_refused(tmp_path, size):
    write_h5(tmp_path / "x.h5")
    write_npz(tmp_path / "x.npz")
    write_lists(tmp_path / "x.parquet")
    for path in sorted(tmp_path.iterdir()):
        path.write_bytes(path.read_bytes()[:-size])
        with pytest.raises(FeatxError):
            read(path)
