"""Checks of the folder of published weights files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from featx.errors import WeightsError
from featx.zoo import WEIGHTS_DIR, Backbone, fetch_weights, is_preset, list_backbones, weights_folder

from .check_rows import CheckContext, CheckRow, note, ok, problem

__all__ = ["check_weights"]

_HDF5 = b"\x89HDF\r\n\x1a\n"
_BYTES_PER_WEIGHT = 4


def check_weights(context: CheckContext) -> Iterator[CheckRow]:
    """Look for published weights: names and sizes of files, and with `verify` their checksums."""
    folder = weights_folder()
    named = context.environment.get(WEIGHTS_DIR)
    if named and not folder.is_dir():
        yield problem(
            "weights",
            f"{WEIGHTS_DIR} names {folder}, which is not a folder",
            f"Correct {WEIGHTS_DIR}, or make the folder and fill it by `featx zoo fetch`.",
            place=str(folder),
        )
        return
    rows = {row.name: row for row in list_backbones()}
    found = {name: path for name, row in rows.items() if (path := _file(row, folder))}
    damaged = {
        name: text for name, path in found.items() if (text := _damage(rows[name], path, context.verify))
    }
    for name, text in damaged.items():
        remedy = f"Remove {found[name]} and run `featx zoo fetch {name}`."
        yield problem(f"weights of {name}", text, remedy)
    sound = [name for name in found if name not in damaged]
    how = "names and sizes compared; --verify compares checksums"
    if context.verify:
        known = sum(_has_checksum(rows[name], found[name]) for name in sound)
        how = f"{known} of {len(sound)} checksums compared" + (
            "" if known == len(sound) else "; the others are not published"
        )
    figures = {"backbones": sound, "verified": context.verify}
    if sound:
        shown = ", ".join(sound[:6]) + (f" and {len(sound) - 6} more" if len(sound) > 6 else "")
        yield ok("weights", f"{folder}: {shown} ({how})", figures)
    elif named:
        text = f"{folder} has none; {WEIGHTS_DIR} is set, so that none are downloaded"
        yield note("weights", text, "Run `featx zoo fetch NAME`, or copy weights files there.", figures)
    else:
        yield ok("weights", f"{folder} has none; they are downloaded at first use", figures)


def _file(row: Backbone, folder: Path) -> Path | None:
    """Find the weights file or the preset's folder of a backbone."""
    if row.preset is not None:
        preset = folder / row.preset.name
        return preset if is_preset(preset) else None
    file = folder / row.published.file if row.published else None
    return file if file and file.is_file() else None


def _has_checksum(row: Backbone, path: Path) -> bool:
    if row.preset is not None:
        return (path / "SHA256SUMS").is_file()
    return bool(row.published and row.published.checksum)


def _damage(row: Backbone, path: Path, verify: bool) -> str:
    """Say what is wrong with a weights file; nothing if it looks right."""
    file = path / "model.weights.h5" if path.is_dir() else path
    try:
        with file.open("rb") as opened:
            begin = opened.read(len(_HDF5))
        if begin != _HDF5:
            return f"{file} is not an HDF5 file"
        size, least = file.stat().st_size, _BYTES_PER_WEIGHT * row.parameters
        if size < least:
            return f"{file} has {size / 1e6:.1f} MB; {least / 1e6:.1f} MB of weights are expected"
        if verify:
            # It exists, so that nothing is downloaded.
            fetch_weights(row)
    except OSError as error:
        return f"{file} cannot be read: {error.strerror or error}"
    except WeightsError as error:
        return str(error)
    return ""
