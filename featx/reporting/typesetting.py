"""LaTeX tables that fit a page: tables that are too wide or too long are split, leading columns first."""

from __future__ import annotations

import math
import re
import textwrap
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

__all__ = ["Grid", "typeset"]

# Points: text width of the class article, and space between two columns.
_PAGE, _GAP = 345.0, 6.0
# Points: text columns wider than the first are wrapped if the page is too narrow; their least width.
_COMFORT, _LEAST = 95.0, 24
_DASH = "–"
# Points: text height without rules and gaps, height of a line of a caption, and of a line of a table.
_HEIGHT, _CAPTION_LINE, _LINE = 500.0, 12.0, 9.5
# Captions are set in 10 points, and TeX does not fill every line.
_CAPTION_STRETCH = 1.35
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "†": r"\dag{}",
    "–": "--",
    "→": r"$\to$",
    "∞": r"$\infty$",
    "η": r"$\eta$",
    "ω": r"$\omega$",
    "²": r"$^2$",
}
_TRANSLATED = str.maketrans({**_ESCAPES, "\0": "\\allowbreak{}"})
# Largest widths of letters in Computer Modern of 8 points (\footnotesize), in points.
_WIDTHS: Mapping[str, float] = {
    **dict.fromkeys("ijl.,:;'!|", 2.4),
    **dict.fromkeys("ftrsI()[]/ -", 3.5),
    **dict.fromkeys("0123456789", 4.3),
    **dict.fromkeys("mw", 7.1),
    **dict.fromkeys("MW", 8.9),
}


@dataclass(frozen=True)
class Grid:
    """A table as text.

    Attributes
    ----------
    heads : tuple of str
        Titles of the columns.
    text : tuple of bool
        Which columns hold text, which is aligned to the left.
    rows : tuple of tuple of str
        Cells.
    bold : frozenset of (int, int)
        Row and column of the cells in bold.
    """

    heads: tuple[str, ...]
    text: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()

    @cached_property
    def naturals(self) -> tuple[float, ...]:
        """Widths of the columns without line breaks in cells; heads may be broken."""
        return tuple(
            max([_width(word) for word in head.split()] + [_width(row[place]) for row in self.rows])
            for place, head in enumerate(self.heads)
        )

    def only(self, columns: Sequence[int]) -> Grid:
        """Keep some columns."""
        return Grid(
            tuple(self.heads[place] for place in columns),
            tuple(self.text[place] for place in columns),
            tuple(tuple(row[place] for place in columns) for row in self.rows),
            frozenset(
                (row, new) for row, old in self.bold for new, place in enumerate(columns) if old == place
            ),
        )


def typeset(name: str, title: str, note: str, grid: Grid) -> str:
    r"""Write a table as LaTeX, with the packages array and booktabs, no wider than a page.

    If a table is too wide, texts and counts that are equal in every row move to the caption. If it is still too wide, it
    is split into several tables, each with the columns that name its rows. Long tables are split into several, too.

    Examples
    --------
    >>> print(typeset("auc", "AUC", "", Grid(("Arm", "AUC"), (True, False), (("50% & more", "0.7"),))), end="")
    % \usepackage{array,booktabs}
    \begin{table}[htbp]
    \centering
    \caption{AUC.}
    \label{tab:auc}
    \footnotesize\setlength{\tabcolsep}{3pt}
    \begin{tabular}{@{}lr@{}}
    \toprule
    Arm & AUC \\
    \midrule
    50\% \& more & 0.7 \\
    \bottomrule
    \end{tabular}
    \end{table}
    """
    slim, same = _without_constants(grid)
    label = re.sub("[^A-Za-z0-9-]", "-", name)
    first = " ".join(text for text in (f"{title}.", note, same) if text)
    parts: list[Grid] = []
    for columns in _parts(slim):
        parts += _pieces(slim.only(columns), title if parts else first, title)
    made = []
    for number, part in enumerate(parts):
        caption = f"{title} (continued, part {number + 1} of {len(parts)})." if number else first
        made.append(_environment(part, caption, f"{label}-{number + 1}" if number else label))
    return "% \\usepackage{array,booktabs}\n" + "".join(made)


# Long tables are measured again for each way of splitting them.
@lru_cache(maxsize=2**16)
def _width(text: str) -> float:
    return sum(_WIDTHS.get(char, 4.8 if char.islower() else 6.8 if char.isupper() else 7.0) for char in text)


@lru_cache(maxsize=2**16)
def _longest(text: str) -> float:
    """Compute the width of the longest word."""
    return max(map(_width, _words(text)), default=0.0)


def _words(text: str) -> list[str]:
    """Split a text where TeX may break a line: after spaces and hyphens."""
    return re.findall(r"[^\s-]*-+|[^\s-]+", text)


def _leasts(grid: Grid) -> list[float]:
    """Compute the widths below which a word or a number would be broken."""
    return [
        max([_longest(grid.heads[place]), *(_longest(row[place]) for row in grid.rows)]) if text else natural
        for place, (natural, text) in enumerate(zip(grid.naturals, grid.text, strict=True))
    ]


def _total(widths: Sequence[float]) -> float:
    return sum(widths) + _GAP * (len(widths) - 1)


def _without_constants(grid: Grid) -> tuple[Grid, str]:
    """Move texts and counts that are equal in every row out of a table that is too wide, into a sentence."""
    if len(grid.rows) < 2 or _total(grid.naturals) <= _PAGE:
        return grid, ""
    same = [
        place
        for place, text in enumerate(grid.text)
        if len({row[place] for row in grid.rows}) == 1 and (text or grid.rows[0][place].isdecimal())
    ]
    if not any(text for place, text in enumerate(grid.text) if place not in same):
        same = [place for place in same if place]  # a column must name the rows
    kept = [place for place in range(len(grid.heads)) if place not in same]
    shown = [place for place in same if grid.rows[0][place] != _DASH]
    facts = "; ".join(f"{grid.heads[place]}: {grid.rows[0][place]}" for place in shown)
    return grid.only(kept), f"In every row: {facts}." if shown else ""


def _parts(grid: Grid) -> list[list[int]]:
    """Distribute the columns over tables; each has the leading text columns, which name its rows."""
    naturals = grid.naturals
    if _total(naturals) <= _PAGE:
        return [list(range(len(naturals)))]
    # The leading text columns name the rows; if all are text, the first does.
    names = list(range(next((place for place, text in enumerate(grid.text) if not text), 1) or 1))
    widths = [
        min(natural, _COMFORT) if text else natural for natural, text in zip(naturals, grid.text, strict=True)
    ]
    widths[: len(names)] = _widths(grid.only(names), min(_COMFORT * len(names), _PAGE / 2))
    parts: list[list[int]] = [[]]
    for place in range(len(names), len(naturals)):
        if parts[-1] and _total([widths[one] for one in (*names, *parts[-1], place)]) > _PAGE:
            parts.append([])
        parts[-1].append(place)
    return [names + part for part in parts]


def _widths(grid: Grid, room: float) -> list[float]:
    """Distribute a width over columns: as much as each needs if possible; else the widest text columns are wrapped."""
    naturals = grid.naturals
    if _total(naturals) <= room:
        return list(naturals)
    whole = _leasts(grid)
    # Words are broken only as a last resort, numbers never.
    broken = [0.0 if text else natural for natural, text in zip(naturals, grid.text, strict=True)]
    tops = range(_LEAST, max(math.ceil(max(naturals)), _LEAST) + 1)

    def widths(top: int, leasts: Sequence[float]) -> list[float]:
        pairs = zip(naturals, leasts, strict=True)
        return [min(natural, max(float(top), least)) for natural, least in pairs]

    for leasts in (whole, broken):
        # The widest column that leaves room for the others.
        if fitting := bisect_right(tops, room, key=lambda top: _total(widths(top, leasts))):
            return widths(tops[fitting - 1], leasts)
    return widths(_LEAST, broken)


def _room(caption: str, head: int) -> int:
    """Count the lines of rows that fit on a page with a caption and a head of some lines."""
    lines = math.ceil(_CAPTION_STRETCH * _width(caption) / _PAGE)
    return max(int((_HEIGHT - _CAPTION_LINE * lines) / _LINE) - head, 1)


def _pieces(grid: Grid, first: str, title: str) -> list[Grid]:
    """Split a table that is too long for a page; its first piece has another caption than the others."""
    widths = _widths(grid, _PAGE)
    head = max(len(_stacked(name, width)) for name, width in zip(grid.heads, widths, strict=True))
    starts, used = [0], 0
    for number, row in enumerate(grid.rows):
        lines = max(
            math.ceil(1.15 * _width(cell) / width) if _width(cell) > width else 1
            for cell, width in zip(row, widths, strict=True)
        )
        if used and used + lines > _room(first if len(starts) == 1 else title, head):
            starts, used = [*starts, number], 0
        used += lines
    ends = [*starts[1:], len(grid.rows)]
    return [
        replace(
            grid,
            rows=grid.rows[start:end],
            bold=frozenset((row - start, column) for row, column in grid.bold if start <= row < end),
        )
        for start, end in zip(starts, ends, strict=True)
    ]


def _environment(grid: Grid, caption: str, label: str) -> str:
    widths = _widths(grid, _PAGE)
    broken = [width < natural for width, natural in zip(widths, grid.naturals, strict=True)]

    def kind(place: int) -> str:
        if broken[place]:
            return rf">{{\raggedright\arraybackslash}}p{{{widths[place]:.0f}pt}}"
        return "l" if grid.text[place] else "r"

    def cell(row: int, place: int) -> str:
        text = grid.rows[row][place]
        shown = _escape(_breakable(text, widths[place]) if broken[place] else text)
        return rf"\textbf{{{shown}}}" if (row, place) in grid.bold else shown

    places = range(len(grid.heads))
    head = [
        _head(title, width, text) for title, width, text in zip(grid.heads, widths, grid.text, strict=True)
    ]
    body = [[cell(row, place) for place in places] for row in range(len(grid.rows))]
    return (
        "\\begin{table}[htbp]\n\\centering\n"
        f"\\caption{{{_escape(caption)}}}\n\\label{{tab:{label}}}\n"
        "\\footnotesize\\setlength{\\tabcolsep}{3pt}\n"
        f"\\begin{{tabular}}{{@{{}}{''.join(map(kind, places))}@{{}}}}\n\\toprule\n"
        f"{_line(head)}\\midrule\n{''.join(map(_line, body))}\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def _line(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \\" + "\n"


@lru_cache(maxsize=2**16)
def _escape(text: str) -> str:
    return text.translate(_TRANSLATED)


def _stacked(title: str, width: float) -> list[str]:
    """Break a title into lines that are no wider than its column."""
    lines = [""]
    for word in title.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if _width(longer) <= width or not lines[-1] else [*lines, word]
    return lines


def _head(title: str, width: float, text: bool) -> str:
    lines = _stacked(title, width)
    if len(lines) == 1:
        return _escape(title)
    stacked = r" \\ ".join(map(_escape, lines))
    return rf"\shortstack[{'l' if text else 'r'}]{{{stacked}}}"


def _breakable(text: str, width: float) -> str:
    """Mark places for line breaks inside words that are wider than their column, by a zero character."""
    letters = max(int(width / 7.0), 1)
    return " ".join(
        "\0".join(textwrap.wrap(word, letters, break_on_hyphens=False)) if _longest(word) > width else word
        for word in text.split(" ")
    )
