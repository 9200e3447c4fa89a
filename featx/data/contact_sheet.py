"""HTML pages of images: samples and near duplicates of a data set, and images before and after preparation.

A page is one file that needs no other file and no internet.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from featx.data.check import ManifestCheck
from featx.data.manifest import Manifest
from featx.errors import ImageError, ManifestError, listing
from featx.files import write_text
from featx.images import PREPARATIONS, decode_image, preparation_key, prepare_image

__all__ = ["write_check_page", "write_preparation_page"]

# Longer side of an image on a page, in pixels.
_SIDE = 160
_PAIRS_SHOWN = 100


@dataclass(frozen=True)
class _Picture:
    caption: str
    image: Image.Image

    @property
    def source(self) -> str:
        """The image as a ``data:`` address."""
        buffer = BytesIO()
        self.image.save(buffer, "JPEG", quality=85)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


@dataclass(frozen=True)
class _Row:
    """Images side by side, with a caption above that may be empty."""

    caption: str
    pictures: Sequence[_Picture]


@dataclass(frozen=True)
class _Section:
    """Rows under a title and a note that may be empty."""

    title: str
    note: str
    rows: Sequence[_Row]


def write_check_page(
    path: Path | str, manifest: Manifest, check: ManifestCheck, *, samples: int = 8, seed: int = 0
) -> None:
    """Write a page with the findings of a check, samples of each label, and pairs of near duplicates.

    Parameters
    ----------
    path : Path or str
        HTML file to write.
    manifest : Manifest
        The manifest that was checked.
    check : ManifestCheck
        Result of `check_manifest`.
    samples : int
        Number of images of each label.
    seed : int
        Random seed that decides which images are shown.

    Examples
    --------
    >>> import tempfile
    >>> from featx.data import check_manifest, draw_dermoscopy, read_manifest
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manifest = read_manifest(draw_dermoscopy(folder, images=4, size=32))
    ...     write_check_page(f"{folder}/check.html", manifest, check_manifest(manifest), samples=1)
    ...     "<h1>Check of" in Path(f"{folder}/check.html").read_text()
    True
    """
    lines = [f"{check.images} images, {check.readable} readable, {check.groups} groups"]
    lines += [f"{finding.severity.capitalize()}: {finding.text}" for finding in check.findings]
    sections = _samples(manifest, samples, seed)
    if check.near:
        rows = _pairs(manifest, check)
        note = (
            "Bits of 256 in which the perceptual hashes differ; "
            f"the first {len(rows)} of {len(check.near)} pairs."
        )
        sections.append(_Section("Near duplicates", note, rows))
    write_text(path, _page(f"Check of {manifest.name}", lines, sections))


def _samples(manifest: Manifest, samples: int, seed: int) -> list[_Section]:
    sections = []
    for label, rows in manifest.table.groupby("label"):
        rng = np.random.default_rng(seed)
        chosen = rows.sort_values("id").iloc[np.sort(rng.permutation(len(rows))[:samples])]
        row = _Row("", _pictures(zip(chosen["path"], chosen["id"], strict=True)))
        sections.append(_Section(str(label) or "(no label)", f"{len(rows)} images", [row]))
    return sections


def _pairs(manifest: Manifest, check: ManifestCheck) -> list[_Row]:
    table = manifest.table.set_index("id")
    found = []
    for pair in check.near[:_PAIRS_SHOWN]:
        both = table.loc[[pair.first, pair.second]]
        captions = [f"{name}: {label}" for name, label in both["label"].items()]
        found.append(_Row(f"{pair.distance} bits", _pictures(zip(both["path"], captions, strict=True))))
    return found


def _pictures(images: Iterable[tuple[str, str]]) -> list[_Picture]:
    """Reduce images, each given by path and caption; those that cannot be read are among the check's findings."""
    found = []
    for path, caption in images:
        try:
            image = decode_image(Path(path), side=_SIDE)
        except ImageError:
            continue
        image.thumbnail((_SIDE, _SIDE))
        found.append(_Picture(caption, image))
    return found


def write_preparation_page(
    path: Path | str,
    manifest: Manifest,
    *,
    preparations: Sequence[str] = (),
    ids: Sequence[str] = (),
    images: int = 8,
    seed: int = 0,
) -> None:
    """Write a page that shows images before and after their preparation.

    Parameters
    ----------
    path : Path or str
        HTML file to write.
    manifest : Manifest
        The images.
    preparations : sequence of str
        Names of preparations; all of them if empty.
    ids : sequence of str
        Ids of the images to show; if empty, some are chosen at random.
    images : int
        Number of images to choose.
    seed : int
        Random seed of the choice.

    Raises
    ------
    ConfigError
        If there is no such preparation.
    ManifestError
        If the manifest has no image of an id.
    ImageError
        If an image cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from featx.data import draw_retina, read_manifest
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manifest = read_manifest(draw_retina(folder, images=2, size=32))
    ...     write_preparation_page(f"{folder}/preview.html", manifest, preparations=["retina"], images=1)
    ...     Path(f"{folder}/preview.html").read_text().count("<figure>")
    3
    """
    names = tuple(preparations) or tuple(PREPARATIONS)
    lines = [
        f"{name}, version {preparation_key(name)['version']}: {PREPARATIONS[name].text}" for name in names
    ]
    rows = [_before_and_after(place, name, names) for name, place in _chosen(manifest, ids, images, seed)]
    write_text(
        path, _page(f"Preparation of {manifest.name}", lines, [_Section("Before and after", "", rows)])
    )


def _chosen(manifest: Manifest, ids: Sequence[str], images: int, seed: int) -> list[tuple[str, str]]:
    """Choose images, as id and path."""
    paths = dict(zip(manifest.ids, manifest.paths, strict=True))
    unknown = [name for name in ids if name not in paths]
    if unknown:
        raise ManifestError(f"{manifest.source}: no image {listing(unknown)}; give ids of this manifest")
    if ids:
        return [(name, paths[name]) for name in ids]
    names = sorted(paths)
    places = np.sort(np.random.default_rng(seed).permutation(len(names))[:images])
    return [(names[place], paths[names[place]]) for place in places]


def _before_and_after(path: str, name: str, preparations: Sequence[str]) -> _Row:
    """Show an image, the part that each preparation keeps, and the result."""
    image = decode_image(Path(path))
    before = image.copy()
    before.thumbnail((_SIDE, _SIDE))
    pictures = [_Picture(f"before, {image.width}x{image.height}", before)]
    for preparation in preparations:
        outlined = before.copy()
        scale = before.width / image.width
        left, top, right, bottom = (edge * scale for edge in PREPARATIONS[preparation].box(image))
        frame = (left, top, max(right - 1, left), max(bottom - 1, top))
        ImageDraw.Draw(outlined).rectangle(frame, outline=(0, 255, 0))
        after = Image.fromarray(prepare_image(image, preparation, _SIDE))
        pictures += [_Picture(f"{preparation}: kept", outlined), _Picture(f"{preparation}: after", after)]
    return _Row(name, pictures)


def _page(title: str, lines: Sequence[str], sections: Sequence[_Section]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("featx.data"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    template = environment.get_template("contact_sheet.html.j2")
    return template.render(title=title, lines=lines, sections=sections, side=_SIDE)
