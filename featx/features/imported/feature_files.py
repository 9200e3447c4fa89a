"""Files of features that other programs wrote, read as a table: the name of an image and its numbers in each row.

No reader runs code of a file. What is read:

``.npz``
    An array ``features`` (or ``embeddings``, ``feats``) with an array of names (``ids``, ``filenames``, ``names`` or
    ``paths``), or one array for each image under its name.
``.npy``
    The features alone, with a table (CSV) of the names beside it.
``.csv``, ``.tsv``, ``.parquet``
    A column of names, with numbered columns (``f0``, ``f1``), columns of numbers alone, or one column of lists. The
    ``manifest.csv`` of eva names a ``.pt`` file for each image.
``.h5``
    ``features`` with names, or of one image or slide that the file is named after (TRIDENT; patches need pooling).
"""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.cells import unguarded
from featx.data import leaves
from featx.digest import digest, digest_bytes, digest_file
from featx.errors import ConfigError, InputError, listing
from featx.files import open_regular
from featx.machine import require_memory
from featx.zoo import elsewhere, read_tensor

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ENDINGS", "FeatureTable", "feature_paths", "read_feature_files"]

_Values = npt.NDArray[Any]

_FEATURES = ("features", "embeddings", "feats")
_NAMES = (
    *(
        "id",
        "ids",
        "image_id",
        "image_ids",
        "isic_id",
        "slide_id",
        "image",
        "images",
        "filename",
        "filenames",
    ),
    *("file", "files", "file_name", "name", "names", "path", "paths", "image_path", "origin"),
)
# Numbers in columns of these names would tell an SVM what it is to predict, or nothing of the image's content.
_NO_FEATURES = frozenset(
    (
        *(
            "label",
            "labels",
            "target",
            "targets",
            "class",
            "classes",
            "y",
            "diagnosis",
            "dx",
            "split",
            "fold",
        ),
        *("group", "patient", "patient_id", "index", "unnamed: 0"),
    )
)
_NUMBERED = re.compile(r"(.*?)(\d+)")


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Rows of a file, before they are matched with images.

    Attributes
    ----------
    source : str
        The file, for messages.
    names : tuple of str or None
        What the file calls the image of each row; None if it names none.
    features : ndarray of float32, shape (n, views, width)
        Finite numbers.
    dtype : str
        Type of the numbers in the file.
    first : int
        Number of the first row in messages: 2 in tables with a header, as spreadsheets count, else 0.
    ignored : tuple of str
        Columns that are neither names nor features.
    files : tuple of Path
        Files whose content the rows are.
    """

    source: str
    names: tuple[str, ...] | None
    features: npt.NDArray[np.float32]
    dtype: str
    first: int = 0
    ignored: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the file, or of names and features that are in several files."""
        if len(self.files) == 1:
            return digest_file(self.files[0])
        return digest({"names": self.names, "features": digest_bytes(self.features.tobytes())})

    def row(self, index: int) -> str:
        """Call a row by its number and name."""
        named = f" ({self.names[index]!r})" if self.names else ""
        return f"row {index + self.first}{named}"


@dataclass(frozen=True, eq=False)
class _Raw:
    """What a reader found: names, and an array of any type with a row for each, or for each patch of one image.

    `apart` tells that the numbers are in further files, which the file names.
    """

    names: Sequence[Any] | None
    values: _Values
    first: int = 0
    ignored: tuple[str, ...] = ()
    apart: bool = False


def feature_paths(files: Iterable[Path | str]) -> list[Path]:
    """List the files given; of a folder those with a known ending, sorted by name."""
    found: list[Path] = []
    for path in map(Path, files):
        inside = (
            sorted(item for item in path.iterdir() if item.suffix.lower() in ENDINGS)
            if path.is_dir()
            else [path]
        )
        if not inside:
            raise InputError(
                f"{path}: this folder has no file of features; known endings: {', '.join(ENDINGS)}"
            )
        found += inside
    for path in found:
        if path.suffix.lower() not in ENDINGS:
            raise InputError(
                f"{path}: files of this ending are not read; known endings: {', '.join(ENDINGS)}"
            )
    if len(set(found)) < len(found):
        twice = next(path for path in found if found.count(path) > 1)
        raise InputError(f"{twice}: this file was given twice; give it once")
    if not found:
        raise InputError("no file of features was given; give at least one")
    return found


def read_feature_files(files: Sequence[Path], pool: str = "none") -> FeatureTable:
    """Read files of features as one table.

    Parameters
    ----------
    files : sequence of Path
        One file; several files with rows of one width; or an ``.npy`` file and the table of its names.
    pool : {"none", "mean"}
        What makes one row of the patches of an image or slide.

    Returns
    -------
    FeatureTable
        Each name once.

    Raises
    ------
    InputError
        If a file cannot be read or has no features, a number is missing or not finite, a name is repeated, or patches
        are not to be pooled. The message names file, row and value.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "features.npz")
    >>> np.savez(file, ids=["a", "b"], features=[[0.5, 2.0], [1.5, 3.0]])
    >>> table = read_feature_files([file])
    >>> table.names, table.features.shape, table.dtype
    (('a', 'b'), (2, 1, 2), 'float64')
    """
    arrays = [path for path in files if path.suffix.lower() == ".npy"]
    if len(files) == 2 and len(arrays) == 1:
        (other,) = (path for path in files if path not in arrays)
        if other.suffix.lower() in _TABLES:
            values = _reading(arrays[0], _read_npy, pool).values
            names = _reading(other, lambda path, _: _Raw(_names_alone(path), np.empty(0)), pool).names
            return _unique([_table(arrays[0], _Raw(names, values, apart=True), pool)])
    return _unique([_table(path, _reading(path, ENDINGS[path.suffix.lower()], pool), pool) for path in files])


def _reading(path: Path, read: Callable[[Path, str], _Raw], pool: str) -> _Raw:
    """Read a file; what libraries raise of a damaged one becomes an error that names it."""
    try:
        return read(path, pool)
    except ImportError as error:
        raise ConfigError(
            f"{path}: Parquet needs pyarrow; pip install 'featx[parquet]', or give CSV"
        ) from error
    except InputError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, ValueError) and "allow_pickle" in str(error):
            raise InputError(
                f"{path}: holds Python objects, which are not loaded because they could run code; save names as text "
                "(np.array(names, dtype=str)) and features as numbers"
            ) from error
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise InputError(f"{path}: cannot be read ({reason}); copy or write it again") from error


def _table(path: Path, raw: _Raw, pool: str) -> FeatureTable:
    """Check names and numbers of what a reader found."""
    names = None if raw.names is None else tuple(map(_text, raw.names))
    values = raw.values
    if values.ndim == 1:
        values = values[None] if names is None or len(names) == 1 != len(values) else values[:, None]
    if values.ndim == 2 and names is not None and len(names) == 1 < len(values):
        values = _pooled(path, values, pool)
    values = values[:, None] if values.ndim == 2 else values
    if values.ndim != 3 or not values.size:
        raise InputError(
            f"{path}: features must be a row of numbers for each image, got an array of shape {raw.values.shape}"
        )
    if names is not None and len(names) != len(values):
        raise InputError(
            f"{path}: has {len(values)} rows of features and {len(names)} names; each row needs one name"
        )
    features = _numbers(path, values, names, raw.first)
    files = () if raw.apart else (path,)
    return FeatureTable(str(path), names, features, str(values.dtype), raw.first, raw.ignored, files)


def _text(name: Any) -> str:
    return (name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)).strip()


def _pooled(path: Path, values: _Values, pool: str) -> _Values:
    if pool != "mean":
        raise InputError(
            f"{path}: has {len(values)} rows (patches) for one image, and an SVM needs one; give --pool mean to average "
            "them"
        )
    if values.dtype.kind not in "fiu":
        return values[:1]  # refused with the other types that are no numbers
    mean: _Values = values.mean(axis=0, dtype=np.float64, keepdims=True)
    return mean.astype(np.result_type(values, np.float16))


def _numbers(
    path: Path, values: _Values, names: tuple[str, ...] | None, first: int
) -> npt.NDArray[np.float32]:
    """Convert to float32, and name the first value that is no finite number."""
    if values.dtype.kind not in "fiu":
        bad = next(
            ((index, item) for index, item in np.ndenumerate(values) if not _is_number(item)),
            ((0, 0, 0), values.flat[0]),
        )
        raise InputError(
            f"{path}: {_place(bad[0], names, first)} is {bad[1]!r}, which is not a number; correct the file"
        )
    require_memory(4 * values.size, f"{path}: {len(values)} rows", "import fewer rows at a time")
    with np.errstate(over="ignore"):
        features = np.ascontiguousarray(values, dtype=np.float32)
    finite = np.isfinite(features)
    if not finite.all():
        index = tuple(int(item) for item in np.argwhere(~finite)[0])
        count = int((~finite.all(axis=(1, 2))).sum())
        raise InputError(
            f"{path}: {_place(index, names, first)} is {values[index]}, which is not finite in float32 ({count} such rows); "
            "correct the file"
        )
    return features


def _is_number(item: Any) -> bool:
    """Tell whether a cell is a number, or the text of one in a column that other cells have made text."""
    try:
        return not isinstance(item, bool | np.bool_) and bool(np.isfinite(float(item)))
    except (TypeError, ValueError):
        return False


def _place(index: tuple[int, ...], names: tuple[str, ...] | None, first: int) -> str:
    named = f" ({names[index[0]]!r})" if names else ""
    return f"number {index[-1]} of row {index[0] + first}{named}"


def _unique(tables: Sequence[FeatureTable]) -> FeatureTable:
    """Join tables, and refuse a name that is repeated."""
    seen: dict[str, str] = {}
    for table in tables:
        for index, name in enumerate(table.names or ()):
            here = f"{table.source} row {index + table.first}"
            if not name:
                raise InputError(f"{table.source}: row {index + table.first} has no name; fill it in")
            if name in seen:
                raise InputError(
                    f"{here}: the name {name!r} is already that of {seen[name]}; keep one row of it"
                )
            seen[name] = here
    return tables[0] if len(tables) == 1 else _joined(tables)


def _joined(tables: Sequence[FeatureTable]) -> FeatureTable:
    one = tables[0]
    for other in tables[1:]:
        if other.features.shape[1:] != one.features.shape[1:]:
            raise InputError(
                f"{other.source}: has rows of shape {other.features.shape[1:]} (views, width), and {one.source} of shape "
                f"{one.features.shape[1:]}; give files of one network"
            )
    if any(table.names is None for table in tables):
        nameless = next(table.source for table in tables if table.names is None)
        raise InputError(
            f"{nameless}: names no images; only a single file can be read without names (an .npy file with one CSV of "
            "names counts as one)"
        )
    return FeatureTable(
        source=f"{one.source} and {len(tables) - 1} more",
        names=tuple(name for table in tables for name in table.names or ()),
        features=np.concatenate([table.features for table in tables]),
        dtype=", ".join(sorted({table.dtype for table in tables})),
        ignored=tuple(dict.fromkeys(name for table in tables for name in table.ignored)),
    )


def _read_npz(path: Path, pool: str) -> _Raw:
    with open_regular(path) as opened, np.load(opened, allow_pickle=False) as file:
        size = sum(item.file_size for item in file.zip.infolist())
        require_memory(size, f"{path}: its arrays", "split it into several files")
        features = [name for name in file.files if name.lower() in _FEATURES]
        if features:
            return _Raw(_one_of(file, file.files), file[_single(path, features, "arrays of features")])
        arrays = {name: file[name] for name in file.files}
    return _by_key(path, arrays)


def _by_key(path: Path, arrays: Mapping[str, _Values]) -> _Raw:
    """Take one array for each image, stored under its name, as Derm Foundation's precomputed embeddings are."""
    flat = {name: np.squeeze(array) for name, array in arrays.items()}
    shapes = {array.shape for array in flat.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise InputError(
            f"{path}: has the arrays {listing(list(arrays))}; expected one of {', '.join(_FEATURES)} with one of ids, "
            "filenames, names or paths, or one row of numbers under the name of each image"
        )
    return _Raw(list(flat), np.stack(list(flat.values())))


def _one_of(arrays: Any, keys: Iterable[str]) -> list[Any] | None:
    known = {key.lower(): key for key in keys}
    found = next((known[name] for name in _NAMES if name in known), None)
    return None if found is None else np.atleast_1d(np.asarray(arrays[found][()])).ravel().tolist()


def _single(path: Path, found: Sequence[str], what: str) -> str:
    if len(found) > 1:
        raise InputError(f"{path}: has several {what} ({listing(list(found))}); keep one")
    return found[0]


def _read_npy(path: Path, pool: str) -> _Raw:
    with open_regular(path) as opened:
        values = np.load(opened, allow_pickle=False)
    if not isinstance(values, np.ndarray):
        raise ValueError("it is not a NumPy array")
    return _Raw(None, np.atleast_2d(values))


def _read_h5(path: Path, pool: str) -> _Raw:
    import h5py

    with open_regular(path) as opened, h5py.File(opened, "r") as file:
        if reason := elsewhere(file):
            raise InputError(f"{path}: {reason}; give a file that contains all its data")
        sets = {str(name): item for name, item in file.items() if isinstance(item, h5py.Dataset)}
        found = [name for name in sets if name.lower() in _FEATURES]
        if not found:
            raise InputError(
                f"{path}: has no dataset {', '.join(_FEATURES)}; it has {listing(list(sets)) or 'none'}"
            )
        data = sets[_single(path, found, "datasets of features")]
        require_memory(
            data.size * data.dtype.itemsize, f"{path}: its features", "split it into several files"
        )
        values = np.asarray(data[()])
        names = _one_of(sets, sets)
    if names is not None:
        return _Raw(names, values)
    # TRIDENT writes a file for each slide, with an axis of length 1 before the patches in some versions.
    return _Raw([path.stem], values[0] if values.ndim == 3 and len(values) == 1 else values)


def _read_table(path: Path, pool: str) -> _Raw:
    frame = _frame(path)
    columns = [str(name) for name in frame.columns]
    if {"origin", "embeddings"} <= set(columns):
        return _read_eva(path, frame, pool)
    known = _name_column(path, columns)
    names = frame.iloc[:, columns.index(known)].tolist()
    rest = [name for name in columns if name != known]
    lists = [name for name in rest if _is_list(frame.iloc[:, columns.index(name)])]
    if lists:
        chosen = _single(path, lists, "columns of lists")
        values = _lists(path, names, frame.iloc[:, columns.index(chosen)])
        if "view" in rest:
            names, values = _viewed(path, names, frame["view"].to_numpy(), values)
        return _Raw(names, values, 2, tuple(name for name in rest if name not in (chosen, "view")))
    chosen_columns = _number_columns(path, rest)
    values = frame.iloc[:, [columns.index(name) for name in chosen_columns]].to_numpy()
    return _Raw(names, values, 2, tuple(name for name in rest if name not in set(chosen_columns)))


def _frame(path: Path) -> pd.DataFrame:
    import pandas as pd

    with open_regular(path) as opened:
        data = opened.read()
    if path.suffix.lower() in {".parquet", ".pq"}:
        frame = pd.read_parquet(BytesIO(data))
        return frame.reset_index() if frame.index.name or frame.index.dtype == object else frame
    header = data.split(b"\n", 1)[0].decode("utf-8-sig")
    separator = "\t" if path.suffix.lower() in {".tsv", ".tab"} else ","
    if separator == "," and "," not in header and ";" in header:
        separator = ";"
    cells = next(csv.reader([header], delimiter=separator), [])
    named = {name for name in cells if _plain(name).lower() in _NAMES}
    frame = pd.read_csv(
        BytesIO(data),
        sep=separator,
        dtype=dict.fromkeys(named, str),
        keep_default_na=False,
        encoding="utf-8-sig",
        low_memory=False,
    )
    for name in named & set(frame.columns):
        frame[name] = frame[name].map(_plain)
    frame.columns = [_plain(str(name)) for name in frame.columns]
    if twice := frame.columns[frame.columns.duplicated()].tolist():
        raise InputError(f"{path}: has two columns {twice[0]!r}; remove one")
    return frame


def _plain(cell: str) -> str:
    """Read a cell as manifests do: without blanks around it, and without the apostrophe before a formula."""
    text: str = unguarded(cell.strip())
    return text


def _name_column(path: Path, columns: Sequence[str]) -> str:
    known = {name.lower(): name for name in reversed(columns)}
    found = next((known[name] for name in _NAMES if name in known), None)
    if found is None:
        raise InputError(
            f"{path}: no column names the images; call it id, filename or path. Got the columns {listing(list(columns))}"
        )
    return found


def _names_alone(path: Path) -> list[str]:
    """Read the names of a table that has no features; a single column needs no header."""
    if path.suffix.lower() in {".parquet", ".pq"}:
        frame = _frame(path)
        return frame[_name_column(path, [str(name) for name in frame.columns])].tolist()
    with open_regular(path) as opened:
        lines = opened.read().decode("utf-8-sig").splitlines()
    rows = [_plain(line.strip().strip('"')) for line in lines if line.strip()]
    if rows and not any(mark in rows[0] for mark in ",;\t"):
        return rows[1:] if rows[0].lower() in _NAMES else rows
    frame = _frame(path)
    return frame[_name_column(path, [str(name) for name in frame.columns])].tolist()


def _is_list(column: pd.Series[Any]) -> bool:
    first = column.iloc[0] if len(column) else None
    return isinstance(first, list | np.ndarray) or (isinstance(first, str) and first.strip().startswith("["))


def _lists(path: Path, names: Sequence[Any], column: pd.Series[Any]) -> _Values:
    """Read a column of lists, as Parquet stores them, or as text such as ``[0.5 2.0]`` or ``[0.5, 2.0]``."""
    rows = []
    for index, item in enumerate(column):
        try:
            parts = item.strip().strip("[]").replace(",", " ").split() if isinstance(item, str) else item
            rows.append(np.asarray(parts, dtype=np.float64 if isinstance(item, str) else None).ravel())
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{path}: row {index + 2} ({names[index]!r}) has {str(item)[:60]!r}, which is not a list of numbers; "
                "correct the file"
            ) from error
        if len(rows[-1]) != len(rows[0]):
            raise InputError(
                f"{path}: row {index + 2} ({names[index]!r}) has {len(rows[-1])} numbers and the first row "
                f"{len(rows[0])}; every row needs as many"
            )
    return np.stack(rows) if rows else np.empty((0, 0))


def _viewed(path: Path, names: list[Any], views: _Values, values: _Values) -> tuple[list[Any], _Values]:
    """Gather the rows of augmented views, as `featx cache export --format parquet` writes them."""
    count, named = int(views.max()) + 1, np.array(names, dtype=object)
    if (
        count < 1
        or len(values) % count
        or (views.reshape(-1, count) != np.arange(count)).any()
        or (named.reshape(-1, count) != named[::count, None]).any()
    ):
        raise InputError(
            f"{path}: the column 'view' must count 0 to {count - 1} for each image in successive rows"
        )
    return names[::count], values.reshape(-1, count, values.shape[1])


def _number_columns(path: Path, columns: Sequence[str]) -> list[str]:
    """Choose the columns of features: those that are numbered, or else all of them."""
    numbered: dict[str, dict[int, str]] = {}
    for name in columns:
        if found := _NUMBERED.fullmatch(name):
            numbered.setdefault(found[1], {})[int(found[2])] = name
    numbered = {prefix: family for prefix, family in numbered.items() if len(family) > 1}
    if len(numbered) > 1:
        raise InputError(
            f"{path}: has several families of numbered columns "
            f"({listing([f'{next(iter(family.values()))}...' for family in numbered.values()])}); keep one"
        )
    for family in numbered.values():
        order = sorted(family)
        if order != list(range(order[0], order[0] + len(order))) or order[0] > 1:
            gap = next(number for place, number in enumerate(order, min(order[0], 1)) if number != place)
            raise InputError(
                f"{path}: the numbered columns have a gap before {family[gap]!r}; number them from 0 or 1 without gaps"
            )
        return [family[number] for number in order]
    for name in columns:
        if name.strip().lower() in _NO_FEATURES:
            raise InputError(
                f"{path}: the column {name!r} does not look like a feature; remove it, or number the columns of features "
                "(f0, f1, ...), so that others are left out"
            )
    if not columns:
        raise InputError(f"{path}: has names but no columns of features")
    return list(columns)


def _read_eva(path: Path, frame: pd.DataFrame, pool: str) -> _Raw:
    """Read the tensors that eva's ``manifest.csv`` names, a file for each image."""
    rows: list[_Values] = []
    for index, (name, file) in enumerate(zip(frame["origin"], frame["embeddings"], strict=True)):
        if leaves(str(file), path.parent):
            raise InputError(
                f"{path}: row {index + 2} ({name!r}) names {file!r}, which is outside the folder of the file"
            )
        tensor = np.squeeze(read_tensor(path.parent / str(file)))
        tensor = (
            _pooled(path.parent / str(file), tensor, pool)[0] if tensor.ndim == 2 else np.atleast_1d(tensor)
        )
        if rows and tensor.shape != rows[0].shape:
            raise InputError(
                f"{path}: row {index + 2} ({name!r}) has features of shape {tensor.shape}, the first row of shape "
                f"{rows[0].shape}; every row needs as many"
            )
        rows.append(tensor)
    ignored = tuple(str(name) for name in frame.columns if name not in ("origin", "embeddings"))
    return _Raw(
        frame["origin"].tolist(), np.stack(rows) if rows else np.empty((0, 0)), 2, ignored, apart=True
    )


_TABLES = frozenset((".csv", ".tsv", ".parquet", ".pq"))
ENDINGS: Mapping[str, Callable[[Path, str], _Raw]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    **dict.fromkeys(sorted(_TABLES), _read_table),
    **dict.fromkeys((".h5", ".hdf5"), _read_h5),
}
"""Endings of files of features, each with its reader."""
