"""Table of the importers, and the conversion of a published data set to a manifest."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from featx.cells import csv_text
from featx.data.importers.atlases import read_derm7pt, read_ph2
from featx.data.importers.isic import (
    read_ham10000,
    read_isic2016,
    read_isic2017,
    read_isic2018,
    read_isic2019,
    read_isic2020,
)
from featx.data.importers.retinopathy import read_aptos2019, read_kaggle_dr, read_menegola2017
from featx.data.importers.source import PublishedFiles
from featx.data.manifest import image_name, leaves, origin_file, read_manifest
from featx.errors import ManifestError, listing
from featx.files import write_aside, write_json

__all__ = ["IMPORTERS", "Imported", "Importer", "find_importer", "import_dataset", "read_class_folders"]


def read_class_folders(source: PublishedFiles) -> pd.DataFrame:
    """List the images of each class folder; the id is the path in the source folder."""
    table = read_manifest(source.path).table
    return pd.DataFrame({"image": table["path"], "id": table["id"], "label": table["label"]})


_FIRST = ("image", "id", "label", "group", "split")


@dataclass(frozen=True)
class Importer:
    """A published format.

    Attributes
    ----------
    name : str
        Name on the command line.
    title : str
        Name of the data set.
    expects : str
        What to give as source.
    read : callable
        Function that reads the data set's tables. It returns the columns ``image`` (published name) and ``label``, if
        known ``id``, ``group`` and ``split``, and strata.
    """

    name: str
    title: str
    expects: str
    read: Callable[[PublishedFiles], pd.DataFrame]


@dataclass(frozen=True)
class Imported:
    """Result of an import.

    Attributes
    ----------
    manifest : Path
        Manifest written.
    labels : mapping of str to int
        Number of images of each label.
    left_out : tuple of str
        Published names of images that are missing.
    """

    manifest: Path
    labels: Mapping[str, int]
    left_out: tuple[str, ...]

    @property
    def images(self) -> int:
        """Number of images in the manifest."""
        return sum(self.labels.values())


_UNPACKED = "folder of the unpacked archives and tables"


IMPORTERS = (
    Importer("isic2016", "ISIC challenge 2016, part 3", _UNPACKED, read_isic2016),
    Importer("isic2017", "ISIC challenge 2017, part 3", _UNPACKED, read_isic2017),
    Importer("isic2018", "ISIC challenge 2018, task 3", _UNPACKED, read_isic2018),
    Importer("isic2019", "ISIC challenge 2019", _UNPACKED, read_isic2019),
    Importer("isic2020", "ISIC challenge 2020, or SIIM-ISIC on Kaggle", _UNPACKED, read_isic2020),
    Importer("ham10000", "HAM10000", _UNPACKED, read_ham10000),
    Importer("ph2", "PH2", "folder PH2Dataset", read_ph2),
    Importer("derm7pt", "derm7pt: Interactive Atlas of Dermoscopy", "folder release_v0", read_derm7pt),
    Importer("kaggle-dr", "Kaggle diabetic retinopathy detection 2015", _UNPACKED, read_kaggle_dr),
    Importer("aptos2019", "APTOS 2019 blindness detection", _UNPACKED, read_aptos2019),
    Importer("class-folders", "a folder with a folder of images for each class", "that folder", read_class_folders),
    Importer("menegola2017", "tables of Menegola et al. 2017", "one of their CSV files, with --images", read_menegola2017),
)  # fmt: skip


def find_importer(name: str) -> Importer:
    """Find an importer.

    Examples
    --------
    >>> find_importer("ham10000").title
    'HAM10000'
    """
    for row in IMPORTERS:
        if row.name == name:
            return row
    raise ManifestError(f"no format {name!r}; give one of {', '.join(row.name for row in IMPORTERS)}")


def import_dataset(
    name: str,
    source: Path | str,
    output: Path | str,
    *,
    images: Path | str | None = None,
    missing: Literal["fail", "leave-out"] = "fail",
    replace: bool = True,
) -> Imported:
    """Write the manifest of a published data set.

    Parameters
    ----------
    name : str
        Format, as in `IMPORTERS`.
    source : Path or str
        Folder or table of the data set.
    output : Path or str
        Manifest to write (CSV), with image paths relative to its folder.
    images : Path or str, optional
        Folder of the images; the source's folder if not given.
    missing : {"fail", "leave-out"}
        What to do with listed images that are missing.
    replace : bool
        Whether to replace an existing file of other content.

    Returns
    -------
    Imported
        The manifest, the number of images of each label, and the images left out.

    Raises
    ------
    ManifestError
        If the format is unknown, tables are missing or damaged, images are missing or their names ambiguous, or
        the manifest would not be valid.
    InputError
        If a file of other content exists and is not to be replaced.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("nevus", "melanoma"):
    ...         Path(folder, "skin", name).mkdir(parents=True)
    ...         Image.new("RGB", (8, 8)).save(Path(folder, "skin", name, "1.png"))
    ...     import_dataset("class-folders", f"{folder}/skin", f"{folder}/skin.csv").labels
    {'melanoma': 1, 'nevus': 1}
    """
    importer, path, target = find_importer(name), Path(source), Path(output)
    if not path.exists():
        raise ManifestError(f"{path}: no such file or folder; give {importer.expects}")
    found = PublishedFiles(
        path, Path(images) if images is not None else path if path.is_dir() else path.parent
    )
    rows, left_out = _located(importer.read(found), found, target, missing)
    columns = [*(column for column in _FIRST if column in rows), *(c for c in rows if c not in _FIRST)]
    with write_aside(target, replace=replace) as aside:
        aside.write_text(csv_text([columns, *rows[columns].to_numpy()]), encoding="utf-8", newline="")
        try:
            read_manifest(aside, root=target.absolute().parent, allow_outside=True)
        except ManifestError as error:
            raise ManifestError(str(error).replace(str(aside), f"{path} as {name}")) from error
    _note_origin(Path(os.path.abspath(target)), rows["image"])  # noqa: PTH100 - links are not followed
    return Imported(target, dict(sorted(Counter(rows["label"]).items())), left_out)


def _note_origin(target: Path, images: pd.Series[str]) -> None:
    """Record where images outside the manifest's folder were found, so that this manifest may name them."""
    files = [os.path.normpath(target.parent / image) for image in images]
    if any(leaves(file, target.parent) for file in files):
        folder = os.path.commonpath([os.path.dirname(file) for file in files])  # noqa: PTH120
        write_json(origin_file(target), {"manifest": str(target), "images": folder})
    else:
        origin_file(target).unlink(missing_ok=True)


def _located(
    rows: pd.DataFrame, source: PublishedFiles, target: Path, missing: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Replace published names by paths relative to the manifest."""
    hits = [_paths(source, name) for name in rows["image"]]
    ambiguous = [f"{name} ({listing([str(file) for file in files], 2)})" for name, files in zip(rows["image"], hits, strict=True) if len(files) > 1]  # fmt: skip
    if ambiguous:
        raise ManifestError(
            f"{len(ambiguous)} image names match several files: {listing(ambiguous, 3)}; give the folder of the images with --images"
        )
    gone = tuple(name for name, files in zip(rows["image"], hits, strict=True) if not files)
    if len(gone) == len(rows) or (gone and missing == "fail"):
        raise ManifestError(
            f"{len(gone)} of {len(rows)} images are not in {source.images}: {listing(gone)}; give their folder with --images, "
            "or leave them out with --missing leave-out"
        )
    base = target.absolute().parent
    relative = [
        Path(os.path.relpath(files[0].absolute(), base)).as_posix() if files else "" for files in hits
    ]
    located = rows.assign(image=relative)
    if "id" not in located:
        located["id"] = [image_name(name) for name in rows["image"]]
    return located[located["image"] != ""], gone


def _paths(source: PublishedFiles, name: str) -> list[Path]:
    return [Path(name)] if Path(name).is_absolute() else source.locate(name)
