"""Sheets of pictures: one HTML file that holds all it shows."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

__all__ = ["SIDE", "Picture", "SheetRow", "SheetSection", "contact_sheet"]

SIDE = 160
"""Longer side of a picture on a sheet, in pixels."""


@dataclass(frozen=True)
class Picture:
    """A picture with its caption.

    Attributes
    ----------
    caption : str
        What stands below it, and is read to who cannot see it.
    image : PIL.Image.Image
        RGB, shown as large as it is.
    """

    caption: str
    image: Image.Image

    @property
    def source(self) -> str:
        """The picture as a ``data:`` address."""
        buffer = BytesIO()
        self.image.save(buffer, "JPEG", quality=85)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


@dataclass(frozen=True)
class SheetRow:
    """Pictures that stand side by side.

    Attributes
    ----------
    caption : str
        What stands above them; may be empty.
    pictures : tuple of Picture
        From left to right.
    """

    caption: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class SheetSection:
    """Rows under a heading.

    Attributes
    ----------
    title, note : str
        Heading, and a sentence below it that may be empty.
    rows : tuple of Row
        From top to bottom.
    """

    title: str
    note: str
    rows: tuple[SheetRow, ...]


def contact_sheet(title: str, lines: Sequence[str], sections: Sequence[SheetSection]) -> str:
    """Make a page of pictures.

    Parameters
    ----------
    title : str
        Heading.
    lines : sequence of str
        Paragraphs below it.
    sections : sequence of Section
        What it shows.

    Returns
    -------
    str
        HTML that needs no other file and no network.

    Examples
    --------
    >>> picture = Picture("a <b>", Image.new("RGB", (4, 4)))
    >>> page = contact_sheet("t", [], [SheetSection("s", "", (SheetRow("", (picture,)),))])
    >>> "a &lt;b&gt;" in page, "data:image/jpeg" in page
    (True, True)
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("featx.data"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    template = environment.get_template("sheet.html.j2")
    return template.render(title=title, lines=lines, sections=sections, side=SIDE)
