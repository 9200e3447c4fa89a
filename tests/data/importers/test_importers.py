"""Each importer on small files in the published layout: names, columns, quirks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest

from featx.data.importers.registry import IMPORTERS, find_importer, import_dataset
from featx.data.manifest import Manifest, origin_file, read_manifest
from featx.data.protocols import check_folds, split_folds
from featx.data.tasks import apply_task
from featx.errors import ManifestError


def write(folder: Path, name: str, text: str, encoding: str = "utf-8") -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text.encode(encoding))


def images(folder: Path, *names: str) -> None:
    for name in names:
        write(folder, name, name)


def isic2016(folder: Path) -> None:
    write(
        folder,
        "ISBI2016_ISIC_Part3_Training_GroundTruth.csv",
        "ISIC_0000000,benign\nISIC_0000002,malignant\n",
    )
    write(folder, "ISBI2016_ISIC_Part3_Test_GroundTruth.csv", "ISIC_0000003,0.0\nISIC_0000013,1.0\n")
    images(folder, *(f"ISBI2016_ISIC_Part3_Training_Data/ISIC_000000{n}.jpg" for n in (0, 2)))
    images(
        folder,
        "ISBI2016_ISIC_Part3_Test_Data/ISIC_0000003.jpg",
        "ISBI2016_ISIC_Part3_Test_Data/ISIC_0000013.jpg",
    )


def isic2017(folder: Path) -> None:
    head = "image_id,melanoma,seborrheic_keratosis\n"
    write(
        folder,
        "ISIC-2017_Training_Part3_GroundTruth.csv",
        head + "ISIC_0000000,0.0,0.0\nISIC_0000002,1.0,0.0\n",
    )
    write(folder, "ISIC-2017_Validation_Part3_GroundTruth.csv", head + "ISIC_0001769,0.0,1.0\n")
    write(folder, "ISIC-2017_Test_v2_Part3_GroundTruth.csv", head + "ISIC_0012086,0.0,1.0\n")
    write(
        folder,
        "ISIC-2017_Training_Data_metadata.csv",
        "image_id,age_approximate,sex\nISIC_0000000,55,female\nISIC_0000002,unknown,male\n",
    )
    for name in ("ISIC_0000000", "ISIC_0000002"):
        images(folder, *(f"ISIC-2017_Training_Data/{name}{end}" for end in (".jpg", "_superpixels.png")))
    images(folder, "ISIC-2017_Validation_Data/ISIC_0001769.jpg", "ISIC-2017_Test_v2_Data/ISIC_0012086.jpg")


def isic2018(folder: Path) -> None:
    head = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
    train = "ISIC_0024306,0.0,1.0,0.0,0.0,0.0,0.0,0.0\nISIC_0024310,1.0,0.0,0.0,0.0,0.0,0.0,0.0\n"
    train += "ISIC_0024311,1.0,0.0,0.0,0.0,0.0,0.0,0.0\n"
    part = "ISIC2018_Task3_{0}_GroundTruth/ISIC2018_Task3_{0}_GroundTruth.csv"
    write(folder, part.format("Training"), head + train)
    write(folder, part.format("Test"), head + "ISIC_0034524,0.0,0.0,0.0,1.0,0.0,0.0,0.0\n")
    lesions = "image,lesion_id,diagnosis_confirm_type\nISIC_0024306,HAM_0000550,follow-up\n"
    lesions += "ISIC_0024310,HAM_0003577,histopathology\nISIC_0024311,HAM_0003577,histopathology\n"
    write(folder, "ISIC2018_Task3_Training_LesionGroupings.csv", lesions)
    images(folder, *(f"ISIC2018_Task3_Training_Input/ISIC_00243{n}.jpg" for n in ("06", "10", "11")))
    images(
        folder, "ISIC2018_Task3_Training_Input/ATTRIBUTION.txt", "ISIC2018_Task3_Test_Input/ISIC_0034524.jpg"
    )


def isic2019(folder: Path) -> None:
    head = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK"
    train = "ISIC_0000000,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0\n"
    train += "ISIC_0000002_downsampled,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,0.0\n"
    write(folder, "ISIC_2019_Training_GroundTruth.csv", f"{head}\n{train}")
    test = "ISIC_0034321,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,0.0,0.0\n"
    write(folder, "ISIC_2019_Test_GroundTruth.csv", f"{head},score_weight,validation_weight\n{test}")
    meta = "image,age_approx,anatom_site_general,lesion_id,sex\nISIC_0000000,55.0,anterior torso,,female\n"
    meta += "ISIC_0000002_downsampled,,upper extremity,MSK4_0010871,\n"
    write(folder, "ISIC_2019_Training_Metadata.csv", meta)
    write(
        folder,
        "ISIC_2019_Test_Metadata.csv",
        "image,age_approx,anatom_site_general,sex\nISIC_0034321,60.0,,male\n",
    )
    images(
        folder, *(f"ISIC_2019_Training_Input/{n}.jpg" for n in ("ISIC_0000000", "ISIC_0000002_downsampled"))
    )
    images(folder, "ISIC_2019_Test_Input/ISIC_0034321.jpg")


def isic2020(folder: Path) -> None:
    head = "image_name,patient_id,lesion_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target\n"
    rows = "ISIC_2637011,IP_7279968,IL_7972535,male,45.0,head/neck,unknown,benign,0\n"
    rows += "ISIC_0149568,IP_0962375,IL_6890425,female,55.0,upper extremity,melanoma,malignant,1\n"
    rows += "ISIC_0015719,IP_3075186,IL_4156906,female,45.0,upper extremity,nevus,benign,0\n"
    write(folder, "ISIC_2020_Training_GroundTruth_v2.csv", head + rows)
    write(
        folder, "ISIC_2020_Training_Duplicates.csv", "image_name_1,image_name_2\nISIC_2637011,ISIC_0015719\n"
    )
    images(folder, "train/ISIC_2637011.jpg", "train/ISIC_0149568.jpg")


def ham10000(folder: Path) -> None:
    head = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset")
    rows = [
        ("HAM_0000118", "ISIC_0027419", "bkl", "histo", "80.0", "male", "scalp", "vidir_modern"),
        ("HAM_0000118", "ISIC_0025030", "bkl", "histo", "80.0", "male", "scalp", "vidir_modern"),
        ("HAM_0002644", "ISIC_0029417", "akiec", "histo", "", "unknown", "face", "rosendahl"),
    ]
    write(folder, "HAM10000_metadata", "".join("\t".join(row) + "\r\n" for row in (head, *rows)))
    images(folder, "HAM10000_images_part_1/ISIC_0027419.jpg", "HAM10000_images_part_1/ISIC_0025030.jpg")
    images(folder, "HAM10000_images_part_2/ISIC_0029417.jpg")


def ph2_images(folder: Path) -> None:
    for name in ("IMD003", "IMD155", "IMD058"):
        case = f"PH2Dataset/PH2 Dataset images/{name}"
        images(
            folder, f"{case}/{name}_Dermoscopic_Image/{name}.bmp", f"{case}/{name}_lesion/{name}_lesion.bmp"
        )


def ph2_text(folder: Path) -> None:
    head = "||   Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry | Pigment Network | Dots/Globules "
    head += "| Streaks | Regression Areas | Blue-Whitish Veil ||           Colors ||\n"
    rows = "|| IMD003 ||                        ||                  0 ||         0 |               T |             A "
    rows += "|       A |                A |                 A ||                4 ||\n"
    rows += "|| IMD155 ||                        ||                  1 ||         1 |              AT |             T "
    rows += "|       A |                A |                 A ||             3  4 ||\n"
    rows += "|| IMD058 ||               Melanoma ||                  2 ||         2 |              AT |            AT "
    rows += "|       P |                P |                 P ||       3  4  5  6 ||\n"
    legend = "\n\nLegends:\n\nClinical Diagnosis:\n 0 - Common Nevus\n 1 - Atypical Nevus\n 2 - Melanoma\n"
    write(folder, "PH2Dataset/PH2_dataset.txt", head + rows + legend)
    ph2_images(folder)


def ph2_sheet(folder: Path) -> None:
    pytest.importorskip("openpyxl")
    head = [
        "Image Name",
        "Histological Diagnosis",
        "Common Nevus",
        "Atypical Nevus",
        "Melanoma",
        "Asymmetry\n(0/1/2)",
    ]
    head += [
        "Pigment Network\n(AT/T)",
        "Dots/Globules\n(A/AT/T)",
        "Streaks\n(A/P)",
        "Regression Areas\n(A/P)",
    ]
    head += ["Blue-Whitish Veil\n(A/P)", "White"]
    legend: list[list[object]] = [["Legends"] + [None] * 11, *([None] * 12 for _ in range(11))]
    rows: list[list[object]] = [
        ["IMD003", None, "X", None, None, 0, "T", "A", "A", "A", "A", None],
        ["IMD155", None, None, "X", None, 1, "AT", "T", "A", "A", "A", None],
        ["IMD058", "Melanoma", None, None, "X", 2, "AT", "AT", "P", "P", "P", None],
    ]
    (folder / "PH2Dataset").mkdir(parents=True)
    pd.DataFrame([*legend, head, *rows]).to_excel(
        folder / "PH2Dataset/PH2_dataset.xlsx", header=False, index=False
    )
    ph2_images(folder)


def derm7pt(folder: Path) -> None:
    head = "case_num,diagnosis,seven_point_score,pigment_network,level_of_diagnostic_difficulty,elevation,location,sex,"
    head += "management,clinic,derm,case_id,notes\n"
    rows = "1,basal cell carcinoma,0,absent,medium,palpable,abdomen,female,excision,NEL/NEL025.JPG,NEL/Nel026.jpg,,\n"
    rows += '2,"melanoma (less than 0.76 mm)",5,atypical,high,flat,back,male,excision,NEL/NEL027.JPG,NEL/Nel028.jpg,,caf\xe9\n'
    rows += (
        "3,clark nevus,1,typical,low,flat,back,male,no further examination,Nal/Nal001.jpg,Nal/Nal002.JPG,,\n"
    )
    write(folder, "release_v0/meta/meta.csv", head + rows, "cp1252")
    for name, row in (("train", 1), ("valid", 0), ("test", 2)):
        write(folder, f"release_v0/meta/{name}_indexes.csv", f"indexes\n{row}\n")
    images(
        folder,
        *(f"release_v0/images/NEL/{n}" for n in ("Nel026.jpg", "NEL025.JPG", "Nel028.jpg", "NEL027.JPG")),
    )
    images(folder, "release_v0/images/NAL/Nal002.jpg", "release_v0/images/NAL/Nal001.jpg")


def kaggle_dr(folder: Path) -> None:
    write(folder, "trainLabels.csv", "image,level\n10_left,0\n10_right,2\n13_left,4\n")
    write(folder, "retinopathy_solution.csv", "image,level,Usage\n1_left,0,Private\n1_right,1,Public\n")
    images(
        folder,
        "train/10_left.jpeg",
        "train/10_right.jpeg",
        "train/13_left.jpeg",
        "test/1_left.jpeg",
        "test/1_right.jpeg",
    )


def aptos2019(folder: Path) -> None:
    write(folder, "train.csv", "id_code,diagnosis\n000c1434d8d7,2\n001639a390f0,4\n")
    write(folder, "test.csv", "id_code\n0005cfc8afb6\n")
    images(
        folder,
        "train_images/000c1434d8d7.png",
        "train_images/001639a390f0.png",
        "test_images/0005cfc8afb6.png",
    )


def class_folders(folder: Path) -> None:
    images(folder, "nevus/a.png", "melanoma/a.png", "readme.txt")


def menegola2017(folder: Path) -> None:
    write(folder, "folds/protocol3.csv", "image,level\nael514,1\nndl060,2\nael455,0\n\n")
    images(folder, *(f"atlas/{name}.tiff" for name in ("ael514", "ndl060", "ael455")))


@dataclass(frozen=True)
class Case:
    """A layout, what to give as source, and rows (id, label, group, split) in the table's order."""

    format: str
    build: Callable[[Path], None]
    rows: tuple[tuple[str, str, str, str], ...]
    source: str = ""
    arguments: dict[str, str] = field(default_factory=dict)
    strata: dict[str, tuple[str, ...]] = field(default_factory=dict)


CASES = (
    Case("isic2016", isic2016, (
        ("ISIC_0000000", "benign", "", "train"), ("ISIC_0000002", "melanoma", "", "train"),
        ("ISIC_0000003", "benign", "", "test"), ("ISIC_0000013", "melanoma", "", "test"))),
    Case("isic2017", isic2017, (
        ("ISIC_0000000", "nevus", "", "train"), ("ISIC_0000002", "melanoma", "", "train"),
        ("ISIC_0001769", "seborrheic keratosis", "", "val"), ("ISIC_0012086", "seborrheic keratosis", "", "test")),
        strata={"age": ("55", "", "", ""), "sex": ("female", "male", "", "")}),
    Case("isic2018", isic2018, (
        ("ISIC_0024306", "nevus", "HAM_0000550", "train"), ("ISIC_0024310", "melanoma", "HAM_0003577", "train"),
        ("ISIC_0024311", "melanoma", "HAM_0003577", "train"), ("ISIC_0034524", "actinic keratosis", "ISIC_0034524", "test")),
        strata={"confirmed": ("follow-up", "histopathology", "histopathology", "")}),
    Case("isic2019", isic2019, (
        ("ISIC_0000000", "nevus", "ISIC_0000000", "train"),
        ("ISIC_0000002_downsampled", "squamous cell carcinoma", "MSK4_0010871", "train"),
        ("ISIC_0034321", "unknown", "ISIC_0034321", "test")),
        strata={"age": ("55.0", "", "60.0"), "site": ("anterior torso", "upper extremity", ""), "sex": ("female", "", "male")}),
    Case("isic2020", isic2020, (
        ("ISIC_2637011", "benign", "IP_7279968", ""), ("ISIC_0149568", "melanoma", "IP_0962375", "")),
        strata={"lesion": ("IL_7972535", "IL_6890425"), "site": ("head/neck", "upper extremity")}),
    Case("ham10000", ham10000, (
        ("ISIC_0027419", "benign keratosis", "HAM_0000118", ""), ("ISIC_0025030", "benign keratosis", "HAM_0000118", ""),
        ("ISIC_0029417", "actinic keratosis", "HAM_0002644", "")),
        strata={"confirmed": ("histo",) * 3, "collection": ("vidir_modern", "vidir_modern", "rosendahl")}),
    *(Case("ph2", build, (
        ("IMD003", "common nevus", "", ""), ("IMD155", "atypical nevus", "", ""), ("IMD058", "melanoma", "", "")),
        strata={"asymmetry": ("0", "1", "2"), "blue-whitish veil": ("A", "A", "P")}) for build in (ph2_text, ph2_sheet)),
    Case("derm7pt", derm7pt, (
        ("nel026", "basal cell carcinoma", "case1", "val"), ("nel028", "melanoma (less than 0.76 mm)", "case2", "train"),
        ("nal002", "clark nevus", "case3", "test")), strata={"difficulty": ("medium", "high", "low")}),
    Case("kaggle-dr", kaggle_dr, (
        ("10_left", "grade0", "patient10", "train"), ("10_right", "grade2", "patient10", "train"),
        ("13_left", "grade4", "patient13", "train"), ("1_left", "grade0", "patient1", "test"),
        ("1_right", "grade1", "patient1", "test")), strata={"eye": ("left", "right", "left", "left", "right")}),
    Case("aptos2019", aptos2019, (("000c1434d8d7", "grade2", "", ""), ("001639a390f0", "grade4", "", ""))),
    Case("class-folders", class_folders, (("melanoma/a", "melanoma", "", ""), ("nevus/a", "nevus", "", ""))),
    Case("menegola2017", menegola2017, (
        ("ael514", "melanoma", "", ""), ("ndl060", "benign", "", ""), ("ael455", "basal cell carcinoma", "", "")),
        source="folds/protocol3.csv", arguments={"images": "atlas"}),
)  # fmt: skip


def imported(case: Case, folder: Path) -> Manifest:
    data = folder / "data"
    data.mkdir()
    case.build(data)
    arguments = {name: data / value for name, value in case.arguments.items()}
    done = import_dataset(case.format, data / case.source, folder / "out" / "manifest.csv", **arguments)  # type: ignore[arg-type]
    assert (done.images, done.left_out) == (len(case.rows), ())
    return read_manifest(done.manifest)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.format}-{case.build.__name__}")
def test_contract(case: Case, tmp_path: Path) -> None:
    """Rows, groups, splits and strata are the published ones; every image is there; a task applies."""
    manifest = imported(case, tmp_path)
    table = manifest.table
    expected = [(name, label, group or name, split) for name, label, group, split in case.rows]
    assert list(table[["id", "label", "group", "split"]].itertuples(index=False, name=None)) == expected
    for name, values in case.strata.items():
        assert tuple(table[name]) == values
    assert all(Path(path).is_file() for path in manifest.paths)
    assert not any(Path(path).is_absolute() for path in pd.read_csv(manifest.source)["image"])
    assert len(apply_task(manifest, "labels")) == len(manifest)


def test_every_importer_has_a_case_and_its_own_words() -> None:
    assert {case.format for case in CASES} == {row.name for row in IMPORTERS}
    assert len({row.title for row in IMPORTERS}) == len(IMPORTERS)


def test_labels_suit_the_shipped_tasks(tmp_path: Path) -> None:
    by_format = {case.format: case for case in CASES}
    for format, task in {
        "isic2016": "melanoma-vs-rest", "isic2017": "seborrheic-keratosis-vs-rest", "derm7pt": "three-class",
        "ph2": "melanoma-vs-benign", "isic2020": "melanoma-vs-rest", "kaggle-dr": "referable-retinopathy",
        "aptos2019": "labels", "menegola2017": "three-class",
    }.items():  # fmt: skip
        folder = tmp_path / format
        folder.mkdir()
        assert len(apply_task(imported(by_format[format], folder), task)) == len(by_format[format].rows)


def test_missing_images_are_named_or_left_out(tmp_path: Path) -> None:
    isic2016(tmp_path)
    (tmp_path / "ISBI2016_ISIC_Part3_Test_Data/ISIC_0000013.jpg").unlink()
    with pytest.raises(
        ManifestError, match=r"1 of 4 images are not in .*: ISIC_0000013; give their folder with --images"
    ):
        import_dataset("isic2016", tmp_path, tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists()
    done = import_dataset("isic2016", tmp_path, tmp_path / "m.csv", missing="leave-out")
    assert (done.images, done.left_out) == (3, ("ISIC_0000013",))


def test_images_elsewhere_and_ambiguous(tmp_path: Path) -> None:
    isic2016(tmp_path / "data")
    images(tmp_path / "data", "small/ISIC_0000000.png")
    with pytest.raises(ManifestError, match="1 image names match several files: ISIC_0000000"):
        import_dataset("isic2016", tmp_path / "data", tmp_path / "m.csv")
    small = tmp_path / "small"
    images(small, *(f"ISIC_{n}.png" for n in ("0000000", "0000002", "0000003", "0000013")))
    import_dataset("isic2016", tmp_path / "data", tmp_path / "m.csv", images=small)
    assert {Path(path).parent for path in read_manifest(tmp_path / "m.csv").paths} == {small}


@pytest.mark.parametrize(
    ("format", "name", "text", "message"),
    [
        ("isic2016", "ISBI2016_ISIC_Part3_Training_GroundTruth.csv", "ISIC_1,maybe\n", "the column label must hold benign, malignant, .*, got maybe"),
        ("isic2018", "ISIC2018_Task3_Training_GroundTruth.csv", "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_1,1.0,1.0,0,0,0,0,0\n", "rows 2 do not have exactly one"),
        ("isic2017", "ISIC-2017_Training_Part3_GroundTruth.csv", "image_id,melanoma,seborrheic_keratosis\nI,1,1\n", "rows 2 do not"),
        ("ham10000", "HAM10000_metadata.csv", "lesion_id,image_id,dx\nL,I,wart\n", "the column dx must hold MEL, .*, got wart"),
        ("kaggle-dr", "trainLabels.csv", "image,level\n10-left,0\n", "must be named NUMBER_left"),
        ("aptos2019", "train.csv", "image,level\n10_left,0\n", "train.csv: no column id_code, diagnosis in this table"),
        ("ph2", "PH2_dataset.txt", "|| Name || Clinical Diagnosis ||\n|| IMD001 || 7 ||\n", "not exactly one diagnosis for IMD001"),
        ("menegola2017", "protocol1.csv", "image,level\nael514,2\n", "give one of the published tables"),
        ("class-folders", "x.txt", "", "no images in class folders"),
    ],
)  # fmt: skip
def test_odd_tables_are_named(tmp_path: Path, format: str, name: str, text: str, message: str) -> None:
    write(tmp_path, name, text)
    with pytest.raises(ManifestError, match=message):
        import_dataset(format, tmp_path, tmp_path / "out.csv")


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "wrong separator": lambda data: re.sub(rb"[,;\t|]+", b" ~ ", data),
    "missing column": lambda data: b"other\n" + re.sub(rb"(?m)[,\t|].*$", b"", data.partition(b"\n")[2]),
    "empty": lambda data: b"",
    "binary": lambda data: bytes(range(256)) * 4,
}
UNREAD = {"test.csv", "ATTRIBUTION.txt"}
TABLES = ("*.csv", "HAM10000_metadata", "*.txt", "*.xlsx")


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.format != "class-folders"],
    ids=lambda case: f"{case.format}-{case.build.__name__}",
)
def test_a_damaged_table_is_named_with_what_is_expected(case: Case, damage: str, tmp_path: Path) -> None:
    """Every table of a format in turn."""
    made = tmp_path / "whole"
    made.mkdir()
    case.build(made)
    tables = sorted(path.relative_to(made) for pattern in TABLES for path in made.rglob(pattern))
    tables = [path for path in tables if path.name not in UNREAD]
    damaged = {table: DAMAGES[damage]((made / table).read_bytes()) for table in tables}
    changed = [table for table in tables if damaged[table] != (made / table).read_bytes()]
    assert changed
    for number, table in enumerate(changed):
        data = tmp_path / str(number)
        data.mkdir()
        case.build(data)
        (data / table).write_bytes(damaged[table])
        arguments = {name: data / value for name, value in case.arguments.items()}
        with pytest.raises(ManifestError) as caught:
            import_dataset(case.format, data / case.source, tmp_path / "m.csv", **arguments)  # type: ignore[arg-type]
        assert str(data / table) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
        assert not (tmp_path / "m.csv").exists()


@pytest.mark.parametrize(
    "row", [row for row in IMPORTERS if row.name not in {"class-folders"}], ids=lambda row: row.name
)
def test_an_empty_folder_is_refused(row: object, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no table|give one of the published tables"):
        import_dataset(row.name, tmp_path, tmp_path / "out.csv")  # type: ignore[attr-defined]


def test_the_sheet_of_ph2_is_read_where_the_text_has_another_form(tmp_path: Path) -> None:
    ph2_sheet(tmp_path)
    write(tmp_path, "PH2Dataset/PH2_dataset.txt", "Name;Clinical Diagnosis\nIMD003;0\n")
    assert import_dataset("ph2", tmp_path, tmp_path / "m.csv").images == 3
    (tmp_path / "PH2Dataset/PH2_dataset.xlsx").write_bytes(b"no workbook")
    with pytest.raises(
        ManifestError, match=r"PH2_dataset.txt: not the published table; .*PH2_dataset.xlsx: cannot"
    ):
        import_dataset("ph2", tmp_path, tmp_path / "m.csv")


def test_row_numbers_must_be_numbers_of_rows(tmp_path: Path) -> None:
    derm7pt(tmp_path)
    write(tmp_path, "release_v0/meta/train_indexes.csv", "indexes\n1\nmany\n7\n")
    with pytest.raises(
        ManifestError, match=r"train_indexes.csv: row numbers must be 0 to 2, .*; got many, 7"
    ):
        import_dataset("derm7pt", tmp_path, tmp_path / "m.csv")


def test_unknown_formats_and_sources(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no format 'isic'; give one of isic2016"):
        find_importer("isic")
    with pytest.raises(ManifestError, match="no such file or folder; give folder PH2Dataset"):
        import_dataset("ph2", tmp_path / "gone", tmp_path / "m.csv")


def test_levels_of_the_published_tables(tmp_path: Path) -> None:
    for name, text, labels in (
        ("protocol1", "image,level\nael514,1\nndl060,0\n", ["malignant", "benign"]),
        ("protocol2", "image,level\nael514,1\nndl060,0\n", ["melanoma", "benign"]),
        ("isic", "image,level\nISIC_0000000,0\nISIC_0000002,1\n", ["benign", "melanoma"]),
        ("retina", "image,level\n10_left,0\n10_right,4\n", ["grade0", "grade4"]),
    ):
        write(tmp_path, f"{name}.csv", text)
        names = [line.split(",")[0] for line in text.splitlines()[1:]]
        images(tmp_path, *(f"{name}/{image}.tiff" for image in names))
        import_dataset("menegola2017", tmp_path / f"{name}.csv", tmp_path / "m.csv", images=tmp_path / name)
        assert read_manifest(tmp_path / "m.csv").table["label"].tolist() == labels
    write(tmp_path, "protocol1.csv", "image,level\nael514,2\n")
    with pytest.raises(ManifestError, match="column level must hold 0, 1, got 2"):
        import_dataset("menegola2017", tmp_path / "protocol1.csv", tmp_path / "m.csv")


@pytest.mark.real
def test_the_isic_2016_subset_with_the_published_lists(real_data: Path, tmp_path: Path) -> None:
    """Labels and split of the authors' files on those images of ISIC 2016 that are at hand."""
    reference = real_data.parent / "reference" / "menegola2017" / "folds"
    if not reference.is_dir():
        pytest.skip(f"no reference files: {reference} is not there")
    images = real_data / "derm" / "isic2017_256"
    done = import_dataset(
        "menegola2017", reference / "isic.csv", tmp_path / "m.csv", images=images, missing="leave-out"
    )
    known = pd.read_csv(real_data / "derm" / "isic2017.csv", dtype=str).set_index("image")["isic2016_level"]
    labelled = apply_task(read_manifest(done.manifest), "melanoma-vs-rest")
    assert {name: str(target) for name, target in zip(labelled.ids, labelled.targets, strict=True)} == dict(
        known.dropna()
    )
    folds = split_folds(labelled, reference / "isic.yml", absent="drop")
    check_folds(folds, labelled)
    assert len(folds.folds[0].train) + len(folds.folds[0].test) == len(labelled) == 1054
    assert f"{len(done.left_out)} of 1279 listed images are not in the manifest" in folds.notes[0]


def test_a_manifest_written_elsewhere_may_name_the_images_where_it_found_them(tmp_path: Path) -> None:
    images(tmp_path / "images", "a/1.png", "b/2.png")
    target = tmp_path / "lists" / "m.csv"
    import_dataset("class-folders", tmp_path / "images", target)
    assert len(read_manifest(target)) == 2
    moved = tmp_path / "moved"
    (tmp_path / "lists").rename(moved)
    with pytest.raises(
        ManifestError, match=r"2 of 2 image paths lead out of .*moved: row 2 \(\.\./images/a/1\.png\)"
    ):
        read_manifest(moved / "m.csv")
    assert len(read_manifest(moved / "m.csv", allow_outside=True)) == 2


def test_a_manifest_above_its_images_needs_no_note(tmp_path: Path) -> None:
    images(tmp_path / "images", "a/1.png", "b/2.png")
    origin_file(tmp_path / "m.csv").write_text("of an earlier import")
    import_dataset("class-folders", tmp_path / "images", tmp_path / "m.csv")
    assert len(read_manifest(tmp_path / "m.csv")) == 2
    assert not origin_file(tmp_path / "m.csv").exists()
