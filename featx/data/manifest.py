"""Manifests: the images of a data set, with labels, groups and splits.

A manifest is a CSV, TSV or Parquet file with one row for each image, or a folder with a folder of images for each class.
Columns:

``image``
    Path of the image, relative to the manifest's folder or to a given root. A name without an ending is
    looked up in its folder, because published lists often leave the ending out.
``label``
    Diagnosis or class that the data set gives; the column may be absent where no task needs it.
``id``
    Unique name of the image; the file's name without its ending if the column is absent.
``group``
    Patient, case or lesion: images of one group are never in both training and test set. The id if the column is absent.
``split``
    Published split, such as ``train`` or ``test``.

Every other column is a stratum: a variable that defines subgroups.

Paths must stay in the manifest's folder, or in the given root. Paths that lead out of it by ``..`` or because they are
absolute are refused, unless they are allowed. Links are not followed: a link in the root counts as in the root.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO, StringIO
from pathlib import Path

import pandas as pd

from featx.cells import unguarded
from featx.digest import digest
from featx.documents import parse_json, read_text
from featx.errors import ManifestError, listing
from featx.files import read_regular

__all__ = [
    "CELLS_LIMIT",
    "IMAGE_ENDINGS",
    "MANIFEST_LIMIT",
    "Manifest",
    "image_name",
    "leaves",
    "origin_file",
    "read_manifest",
    "require_images",
    "straddling",
]

MANIFEST_LIMIT = 2**27
"""Most bytes of a manifest: half a million images with ten columns have about 60 MB."""
CELLS_LIMIT = 2**24
"""Most rows times columns of a manifest: 1.6 million images with ten columns."""

IMAGE_ENDINGS = (".bmp", ".dcm", ".gif", ".heic", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")

_PLAIN = ("id", "path", "label", "group", "split")
_INSIDE = "manifest.csv"
_MOST_FINDINGS = 8
_MOST_COLUMNS = 1000
_LONGEST_SHOWN = 100
_LONGEST_NAME = 4096
_NAMES = ("image", "id", "label", "group", "split")
# Control characters, line breaks, and the surrogates that Python puts in place of bytes that are not UTF-8.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, eq=False)
class Manifest:
    r"""Images with their labels, groups and strata. `read_manifest` makes and checks it.

    Attributes
    ----------
    table : pandas.DataFrame
        One row for each image, all columns text: ``id``, ``path`` (absolute), ``label`` (empty if none),
        ``group`` (the id if none), ``split`` (empty if none), then the strata.
    source : Path
        File or folder that it was read from.
    strata : tuple of str
        Names of the columns after the first five.
    has_groups : bool
        Whether the source has a column ``group``.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "skin.csv").write_text("image,label,site\na.png,nevus,arm\nb.png,melanoma,leg\n")
    ...     manifest = read_manifest(f"{folder}/skin.csv", check_files=False)
    >>> len(manifest), manifest.name, manifest.ids, manifest.strata, manifest.has_groups
    (2, 'skin', ['a', 'b'], ('site',), False)
    >>> manifest.table[["id", "label", "group"]].to_numpy().tolist()
    [['a', 'nevus', 'a'], ['b', 'melanoma', 'b']]
    """

    table: pd.DataFrame
    source: Path
    strata: tuple[str, ...]
    has_groups: bool

    def __len__(self) -> int:
        """Count the images."""
        return len(self.table)

    @property
    def name(self) -> str:
        """Name of the file without its ending, or of its folder if the file is called ``manifest``."""
        named = self.source.absolute()
        if named.is_dir():
            return named.name
        return named.parent.name if named.stem == "manifest" else named.stem

    @property
    def ids(self) -> list[str]:
        """Image ids, in the source's order."""
        return list(self.table["id"])

    @property
    def paths(self) -> list[str]:
        """Absolute paths, in the source's order."""
        return list(self.table["path"])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of ids, labels, groups, splits and strata; order and paths do not matter."""
        columns = ["id", "label", "group", "split", *sorted(self.strata)]
        rows = self.table.sort_values("id")[columns].to_numpy().tolist()
        return digest({"columns": columns, "rows": rows})


def read_manifest(
    source: Path | str | Manifest,
    *,
    root: Path | str | None = None,
    check_files: bool = True,
    check_groups: bool = True,
    allow_outside: bool = False,
) -> Manifest:
    """Read and check a manifest.

    Parameters
    ----------
    source : Path, str or Manifest
        CSV (comma or semicolon), TSV or Parquet file; a folder that contains ``manifest.csv``; or a folder with a folder
        of images for each class. A `Manifest` is returned unchanged.
    root : Path or str, optional
        Folder that a file's image paths are relative to; the file's own folder by default.
    check_files : bool
        Whether every image file must exist.
    check_groups : bool
        Whether each group must be in one split only. `check_manifest` reports such groups, so set it to False for that.
    allow_outside : bool
        Whether image paths may lead out of the root. A manifest written by `import_dataset` may always name the images
        that it found, as long as the manifest is not moved.

    Returns
    -------
    Manifest
        Rows in the source's order.

    Raises
    ------
    ManifestError
        If the source cannot be read or used. One message lists all errors, with row numbers as in a spreadsheet (the
        header is row 1).

    Examples
    --------
    >>> import tempfile
    >>> from featx.data import draw_retina
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manifest = read_manifest(draw_retina(folder, images=4, size=16))
    >>> manifest.table[["id", "group"]].to_numpy().tolist()[:2]
    [['eye00000_left', 'patient00000'], ['eye00000_right', 'patient00000']]
    """
    if isinstance(source, Manifest):
        return source
    path = Path(source)
    for place in (path.absolute(), Path(root or "").absolute()):
        if _UNPRINTABLE.search(str(place)):
            raise ManifestError(
                f"{_shown(place)}: the name is not valid UTF-8, or has control characters; rename the file or folder"
            )
    if os.path.isfile(path / _INSIDE):  # noqa: PTH113 - no error for a name that is too long
        path = path / _INSIDE
    whole = os.path.isdir(path)  # noqa: PTH112
    raw, folder = (_read_folder(path), path) if whole else (_read_table(path), Path(root or path.parent))
    _raise(path, _column_findings(raw) or _name_findings(raw))
    if not allow_outside:
        _raise(path, _outside_findings(raw["image"], path, folder))
    manifest, findings = _checked(raw, path, folder)
    if check_groups:
        findings += straddling(manifest.table)
    if check_files:
        findings += _missing_findings(manifest.table["path"])
    _raise(path, findings)
    return replace(manifest, table=manifest.table.reset_index(drop=True))


def _read_folder(folder: Path) -> pd.DataFrame:
    """List the images of a folder of class folders; the id is the path below the folder."""
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    rows = []
    for entry in classes:
        files = sorted(file for file in entry.rglob("*") if file.suffix.lower() in IMAGE_ENDINGS)
        for file in files:
            relative = file.relative_to(folder)
            if _UNPRINTABLE.search(str(relative)):
                raise ManifestError(
                    f"{folder}: the name {_shown(relative)} is not valid UTF-8, or has control characters; rename the file"
                )
            rows.append((relative.as_posix(), entry.name, relative.with_suffix("").as_posix()))
    if not rows:
        raise ManifestError(
            f"{folder}: no images in class folders; give a manifest file, or a folder with a folder of images for each class"
        )
    return pd.DataFrame(rows, columns=["image", "label", "id"], dtype=str)


def _read_table(path: Path) -> pd.DataFrame:
    """Read a table as text, its index counting rows as a spreadsheet does."""
    if not os.path.lexists(path):
        raise ManifestError(
            f"{_cut(str(path))}: no such file or folder; give a manifest (CSV, TSV or Parquet), or a folder of class folders"
        )
    try:
        frame = _read_parquet(path) if path.suffix.lower() in {".parquet", ".pq"} else _read_text(path)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ManifestError(f"{path}: cannot be read as a table: {reason}") from error
    frame = frame.fillna("").apply(lambda column: column.str.strip().map(unguarded))
    frame.columns = [unguarded(str(name).strip()) for name in frame.columns]
    filled: pd.DataFrame = frame.loc[(frame != "").any(axis=1)]
    return filled


def _read_parquet(path: Path) -> pd.DataFrame:
    data = read_regular(path, MANIFEST_LIMIT)
    try:
        _check_parquet(data)
        frame = pd.read_parquet(BytesIO(data))
    except ImportError as error:
        raise ManifestError(
            f"{path}: Parquet needs pyarrow; pip install 'featx[parquet]', or give CSV"
        ) from error
    text = frame.reset_index(drop=True).astype(object).where(frame.notna().to_numpy(), "").map(str)
    text.index = pd.RangeIndex(2, 2 + len(text))
    return text


def _check_parquet(data: bytes) -> None:
    """Check the size that a Parquet file states for its unpacked content, before unpacking it."""
    from pyarrow.parquet import ParquetFile

    facts = ParquetFile(BytesIO(data)).metadata
    _check_cells(facts.num_rows, facts.num_columns)
    size = sum(facts.row_group(index).total_byte_size for index in range(facts.num_row_groups))
    if size > MANIFEST_LIMIT:
        raise ValueError(f"its unpacked size is {size:,} bytes; at most {MANIFEST_LIMIT:,} are read")


def _check_cells(rows: int, columns: int) -> None:
    if columns > _MOST_COLUMNS or rows * columns > CELLS_LIMIT:
        raise ValueError(
            f"it has {rows:,} rows and {columns:,} columns; at most {_MOST_COLUMNS:,} columns and {CELLS_LIMIT:,} cells are read"
        )


def _read_text(path: Path) -> pd.DataFrame:
    text = read_text(path, MANIFEST_LIMIT)
    header = text.partition("\n")[0]
    separator = "\t" if path.suffix.lower() in {".tsv", ".tab"} else ","
    if separator == "," and "," not in header and ";" in header:
        separator = ";"
    _check_cells(text.count("\n"), header.count(separator) + 1)
    # The header is read as a row, because pandas would silently rename a repeated column.
    frame = pd.read_csv(
        StringIO(text, newline=""),
        sep=separator,
        header=None,
        dtype=str,
        keep_default_na=False,
        skip_blank_lines=False,
    )
    body = frame.iloc[1:]
    body.columns = frame.iloc[0].fillna("").tolist()
    body.index = pd.RangeIndex(2, 2 + len(body))
    return body


def _checked(raw: pd.DataFrame, source: Path, root: Path) -> tuple[Manifest, list[str]]:
    """Convert a table to a manifest, whose index counts rows as the file does, and list the errors in it."""
    images = raw["image"]
    paths, ambiguous = _locate(images, root)
    ids = raw["id"] if "id" in raw else images.map(image_name)
    has_groups = "group" in raw
    strata = tuple(name for name in raw.columns if name not in {"image", *_PLAIN})
    table = pd.DataFrame({"id": ids, "path": paths})
    table["label"] = raw.get("label", "")
    table["group"] = raw["group"] if has_groups else ids
    table["split"] = raw.get("split", "")
    table = pd.concat([table, raw[list(strata)]], axis=1)
    findings = [
        *(_empty_findings(raw)),
        *ambiguous,
        *_duplicate_findings(table["id"], images if source.is_dir() else None, "id" in raw),
    ]
    return Manifest(table, source, strata, has_groups), findings


def _raise(source: Path, findings: list[str]) -> None:
    if findings:
        raise ManifestError(f"{source}: {'; '.join(findings)}")


def _column_findings(raw: pd.DataFrame) -> list[str]:
    names = list(raw.columns)
    if "image" not in names:
        return [
            f"no column 'image', got {listing(names, 12)}; rename the column with the paths of the images to 'image'"
        ]
    twice = [name for name, count in Counter(names).items() if count > 1]
    findings = [f"column {name!r} is repeated; rename one" for name in twice]
    if "path" in names:
        findings.append(
            "the column name 'path' is reserved; rename it, to 'image' if it has the paths of the images"
        )
    if "" in names:
        findings.append(f"column {names.index('') + 1} has no name; give it one")
    if raw.empty:
        findings.append("no rows below the header; list at least one image")
    return findings


def _empty_findings(raw: pd.DataFrame) -> list[str]:
    findings = []
    for name in ("image", "id", "label", "group"):
        if name in raw:
            rows = raw.index[raw[name] == ""]
            if len(rows):
                findings.append(f"empty {name} in {_rows(rows)}; fill it in, or remove the rows")
    return findings


def _name_findings(raw: pd.DataFrame) -> list[str]:
    """Find names that do not fit into one line of a table: with line breaks, control characters or invalid UTF-8."""
    findings = []
    for name in _NAMES:
        odd = {row: text for row, text in raw.get(name, pd.Series(dtype=str)).items() if _odd(text)}
        if odd:
            first = _shown(next(iter(odd.values())))
            findings.append(
                f"{name} in {_rows(odd)} has a line break, a control character or more than {_LONGEST_NAME} characters, got {first}; rename it"
            )
    return findings


def _odd(text: str) -> bool:
    return len(text) > _LONGEST_NAME or _UNPRINTABLE.search(text) is not None


def leaves(path: Path | str, root: Path | str) -> bool:
    """Tell whether a path leads out of a folder; links are not followed.

    Parameters
    ----------
    path : Path or str
        Relative to the folder, or absolute.
    root : Path or str
        The folder.

    Returns
    -------
    bool
        False for paths in the folder.

    Examples
    --------
    >>> leaves("../a.png", "data"), leaves("b/../a.png", "data"), leaves("/etc/a.png", "data")
    (True, False, True)
    """
    base = os.path.abspath(root)  # noqa: PTH100 - Path.absolute leaves .. in, Path.resolve follows links
    return not os.path.normpath(os.path.join(base, path)).startswith(base.rstrip("/") + "/")  # noqa: PTH118


def _outside_findings(images: pd.Series[str], source: Path, root: Path) -> list[str]:
    named = [(row, image.replace("\\", "/")) for row, image in images.items()]
    odd = [
        (row, image) for row, image in named if (".." in image or image[:1] == "/") and leaves(image, root)
    ]
    known = _origin(source) if odd else None
    if known is not None:
        odd = [(row, image) for row, image in odd if leaves(root.absolute() / image, known)]
    if not odd:
        return []
    shown = listing([f"row {row} ({_cut(image)})" for row, image in odd])
    return [
        f"{len(odd)} of {len(images)} image paths lead out of {root.absolute()}: {shown}; give a folder that contains them "
        "(--root; in a study file, the key root of the data set), or allow them if you trust this manifest (--allow-outside)"
    ]


def origin_file(manifest: Path) -> Path:
    """Return the path of the JSON file beside an imported manifest that says where its images were found.

    Its content is ``{"manifest": absolute path of the manifest, "images": absolute folder that contains all images}``.
    """
    return manifest.with_name(f"{manifest.name}.origin.json")


def _origin(manifest: Path) -> str | None:
    """Read the folder where an import found a manifest's images; None if the manifest has been moved since."""
    try:
        note = parse_json(read_text(origin_file(manifest)))
        here = os.path.abspath(manifest)  # noqa: PTH100
        return str(note["images"]) if note["manifest"] == here else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _shown(name: object) -> str:
    """Write a name on one line, whatever characters it has."""
    return _cut(repr(str(name)))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}... ({len(text):,} characters)"


def _duplicate_findings(ids: pd.Series[str], files: pd.Series[str] | None, given: bool) -> list[str]:
    doubled = ids[(ids != "") & ids.duplicated(keep=False)]
    hint = "make ids unique" if given else "add a column 'id': without it, ids are file names"
    if files is not None:
        hint = "rename all but one, or give a manifest file with a column 'id'"
    findings = [
        f"id {_shown(name)} {'of ' + listing(files[rows.index].tolist()) if files is not None else 'in ' + _rows(rows.index)}"
        for name, rows in doubled.groupby(doubled, sort=False)
    ]
    return [f"duplicate ids: {listing(findings, _MOST_FINDINGS)} ({hint})"] if findings else []


def straddling(table: pd.DataFrame) -> list[str]:
    """Find groups that are in more than one split: one sentence that names them with their rows, or none.

    Examples
    --------
    >>> table = pd.DataFrame({"group": ["p", "p"], "split": ["train", "test"]}, index=[2, 3])
    >>> straddling(table)
    ["groups across splits: group 'p' is in train and test (rows 2, 3) (put each group in one split)"]
    """
    placed = table[(table["split"] != "") & (table["group"] != "")]
    splits = placed.groupby("group", sort=False)["split"].nunique()
    odd = placed[placed["group"].isin(splits.index[splits > 1])]
    findings = [
        f"group {group!r} is in {' and '.join(rows['split'].unique())} ({_rows(rows.index)})"
        for group, rows in odd.groupby("group", sort=False)
    ]
    if not findings:
        return []
    return [f"groups across splits: {listing(findings, _MOST_FINDINGS)} (put each group in one split)"]


def _missing_findings(paths: pd.Series[str]) -> list[str]:
    shown = [f"row {row} ({_cut(path)})" for row, path in paths.items() if not os.path.isfile(path)]  # noqa: PTH113
    if not shown:
        return []
    return [
        f"{len(shown)} of {len(paths)} image files are missing: {listing(shown)} "
        "(correct the paths, or give their folder: --root; in a study file, the key root of the data set)"
    ]


def _rows(index: Iterable[object]) -> str:
    rows = [str(row) for row in index]
    return f"{'row' if len(rows) == 1 else 'rows'} {listing(rows)}"


def require_images(manifest: Manifest, wanted: Sequence[str], what: str) -> None:
    """Raise an error if a manifest lacks images that runs know; the first ones are named in the given order."""
    known = set(manifest.ids)
    lacking = [name for name in wanted if name not in known]
    if lacking:
        raise ManifestError(
            f"{manifest.source}: lacks {len(lacking)} of {len(wanted)} {what} ({listing(lacking)}); give the "
            "manifest that the runs were trained with"
        )


def image_name(image: str) -> str:
    """Return the name of an image file without folder and ending; an ending that is not an image format's is kept.

    Examples
    --------
    >>> image_name("scans/aal002.tiff"), image_name("v1.2")
    ('aal002', 'v1.2')
    """
    name = image.replace("\\", "/").rsplit("/", 1)[-1]
    stem, dot, ending = name.rpartition(".")
    return stem if dot and f".{ending}".lower() in IMAGE_ENDINGS else name


def _locate(images: pd.Series[str], root: Path) -> tuple[pd.Series[str], list[str]]:
    """Make paths absolute, and find the files of names without an ending."""
    base = root.absolute()
    listings: dict[Path, dict[str, list[str]]] = {}
    paths, findings = [], []
    for row, image in images.items():
        path = base / image.replace("\\", "/")
        if path.suffix.lower() not in IMAGE_ENDINGS:
            if path.parent not in listings:
                listings[path.parent] = _by_stem(path.parent)
            found = listings[path.parent].get(path.name, [])
            if len(found) > 1:
                findings.append(f"row {row}: {image} matches {listing(found)}; give the ending")
            path = path.with_name(found[0]) if found else path
        paths.append(str(path))
    return pd.Series(paths, index=images.index, dtype=str), findings


def _by_stem(folder: Path) -> dict[str, list[str]]:
    """List a folder's images by their names without ending; a file without an ending comes first."""
    found: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():  # noqa: PTH112, PTH208
        found.setdefault(image_name(name), []).append(name)
    return {stem: [stem] if stem in names else names for stem, names in found.items()}
