"""PH2 (Hospital Pedro Hispano) and derm7pt (the Interactive Atlas of Dermoscopy).

The annotations of PH2 come as ``PH2_dataset.xlsx``, whose table begins below a legend and marks classes with X, and as
``PH2_dataset.txt``, whose cells are separated by double and single bars and whose classes are 0 to 2.
"""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import pandas as pd

from featx.data.importers.source import TABLE_LIMIT, PublishedFiles, read_text_table, with_strata
from featx.data.manifest import image_name
from featx.errors import ManifestError, listing
from featx.files import read_regular

__all__ = ["read_derm7pt", "read_ph2"]
_CODES = {"0": "common nevus", "1": "atypical nevus", "2": "melanoma"}
_MARKS = {"Common Nevus": "common nevus", "Atypical Nevus": "atypical nevus", "Melanoma": "melanoma"}
_STRATA_PH2 = {
    "asymmetry": "Asymmetry",
    "pigment network": "Pigment Network",
    "dots and globules": "Dots/Globules",
    "streaks": "Streaks",
    "regression areas": "Regression Areas",
    "blue-whitish veil": "Blue-Whitish Veil",
}


def read_ph2(source: PublishedFiles) -> pd.DataFrame:
    """Read ``PH2_dataset.txt``, or ``PH2_dataset.xlsx`` if the text is missing or has another form."""
    found = source.find("PH2_dataset.txt", "PH2_dataset.xlsx")
    if not found:
        raise ManifestError(
            f"{source.folder}: no table PH2_dataset.txt or PH2_dataset.xlsx in this folder or its subfolders"
        )
    failures = []
    for path in found:
        try:
            return _rows(path)
        except ManifestError as error:
            failures.append(str(error))
    raise ManifestError("; ".join(failures))


def _rows(path: Path) -> pd.DataFrame:
    if path.suffix.lower() == ".txt":
        table = _from_text(path)
        labels = table["Clinical Diagnosis"].map(_CODES)
    else:
        table = _from_sheet(path)
        marks = table[list(_MARKS)].apply(lambda column: column.str.upper()) == "X"
        labels = marks.idxmax(axis=1).map(_MARKS).where(marks.sum(axis=1) == 1)
    odd = sorted(table["Name"][labels.isna()])
    if odd:
        raise ManifestError(f"{path}: not exactly one diagnosis for {listing(odd)}; correct the table")
    return with_strata(pd.DataFrame({"image": table["Name"], "label": labels}), table, _STRATA_PH2)


def _from_text(path: Path) -> pd.DataFrame:
    """Read the cells between bars; empty cells count, since most lesions have no histology."""
    text = read_regular(path, TABLE_LIMIT).decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"\|\|?", line.strip("|"))] for line in lines]
    head = rows[0] if rows else []
    body = [row for row in rows[1:] if re.fullmatch(r"IMD\d+", row[0])]
    if not {"Name", "Clinical Diagnosis"} <= set(head) or not body or max(map(len, body)) > len(head):
        raise ManifestError(
            f"{path}: not the published table; expected rows of cells between bars (|| Name || ... ||), the first "
            "with the columns Name and Clinical Diagnosis"
        )
    return pd.DataFrame([row + [""] * (len(head) - len(row)) for row in body], columns=head, dtype=str)


def _from_sheet(path: Path) -> pd.DataFrame:
    """Find the row that names the columns, and read the rows below it."""
    cells = _read_sheet(path).fillna("").astype(str).apply(lambda column: column.str.strip())
    heads = cells.index[(cells == "Image Name").any(axis=1)]
    table = cells.loc[heads[0] + 1 :].copy() if len(heads) else cells.iloc[:0].copy()
    if len(heads):
        # Some column names have a legend in a second line of the cell.
        table.columns = [text.partition("\n")[0].strip() for text in cells.loc[heads[0]]]
    table = table.rename(columns={"Image Name": "Name"})
    if not {"Name", *_MARKS} <= set(table) or not table["Name"].str.fullmatch(r"IMD\d+").any():
        raise ManifestError(
            f"{path}: not the published table; expected a row with the columns Image Name, {', '.join(_MARKS)}, "
            "and below it a row for each image"
        )
    found: pd.DataFrame = table[table["Name"].str.fullmatch(r"IMD\d+")].reset_index(drop=True)
    return found


def _read_sheet(path: Path) -> pd.DataFrame:
    try:
        data = BytesIO(read_regular(path, TABLE_LIMIT))
        with ZipFile(data) as archive:
            if sum(item.file_size for item in archive.infolist()) > TABLE_LIMIT:
                raise ValueError(f"it unpacks to more than {TABLE_LIMIT:,} bytes")
        return pd.read_excel(data, header=None, dtype=str)
    except ImportError as error:
        raise ManifestError(
            f"{path}: reading .xlsx needs openpyxl; pip install openpyxl, or give PH2_dataset.txt"
        ) from error
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise ManifestError(
            f"{path}: cannot be read as an .xlsx table: {error}; give the published file"
        ) from error


_STRATA_DERM7PT = {
    "difficulty": "level_of_diagnostic_difficulty",
    "seven-point score": "seven_point_score",
    "site": "location",
    "sex": "sex",
    "elevation": "elevation",
    "management": "management",
}


def read_derm7pt(source: PublishedFiles) -> pd.DataFrame:
    """Read ``meta/meta.csv`` and the lists of row numbers ``meta/{train,valid,test}_indexes.csv``.

    The dermoscopic image of each case is taken, not the clinical one; the group is the case. Ids are in lower case,
    as in the fold lists of Menegola et al. 2017.
    """
    table = source.table("meta.csv", columns=("case_num", "diagnosis", "derm", *_STRATA_DERM7PT.values()))
    splits = pd.Series("", index=table.index)
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        path = source.first(f"{name}_indexes.csv")
        listed = read_text_table(path, columns=("indexes",))["indexes"]
        odd = listed[~listed.isin([str(row) for row in table.index])]
        if len(odd):
            raise ManifestError(
                f"{path}: row numbers must be 0 to {len(table) - 1}, the rows of meta.csv; "
                f"got {listing(odd.tolist())}"
            )
        splits.loc[listed.astype(int)] = split
    rows = pd.DataFrame({"image": table["derm"], "id": table["derm"].map(image_name).str.lower()})
    rows["label"] = table["diagnosis"]
    rows["group"] = "case" + table["case_num"]
    rows["split"] = splits
    return with_strata(rows, table, _STRATA_DERM7PT)
