"""Options of `featx report`, each written once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.errors import ConfigError
from featx.options import PlaceOptions, choices, number, other, path, switch, text, texts

if TYPE_CHECKING:
    from featx.data import Manifest

__all__ = ["CHECKLISTS", "DEFAULT_FORMATS", "FIGURE_FORMATS", "SEVERITIES", "ReportSettings"]

CHECKLISTS = ("tripod-ai", "stard-ai", "claim")
"""Guidelines whose items can be filled; each is a table in the folder ``checklists``."""

FIGURE_FORMATS = ("svg", "pdf", "png")
"""Formats of the files of figures."""

DEFAULT_FORMATS = ("svg",)
"""Those that are written unless others are named: the page needs SVG anyway, which PDF and PNG take longer than."""

SEVERITIES = ("error", "warning", "note")
"""How much a failed method check weighs, from most to least."""


@dataclass(frozen=True, kw_only=True)
class ReportSettings(PlaceOptions):
    """Options of `featx.report`.

    Raises
    ------
    ConfigError
        If a value is of the wrong type or out of its bounds.

    Examples
    --------
    >>> ReportSettings(prevalence=0.02).figures
    True
    """

    output: Path | str | None = path(
        None,
        "Folder for report.html, tables/ and figures/. Files of an earlier report there are replaced or removed, "
        "unless they were changed since.",
        short="-o",
        default_text="reports/report; of a study, its folder",
    )
    title: str | None = text(
        None, "Heading of the page.", default_text="AUC of transfer learning arms; of a study, its title"
    )
    strata: Sequence[str] | None = texts(
        None,
        "Break results down by this column of the manifest; may be repeated.",
        flag="stratum",
        default_text="columns of 2 to 12 values",
    )
    subgroups: Sequence[str] | None = texts(
        None,
        "Compare the values of this column of the manifest, such as sex, age or site: AUC, sensitivity and specificity in "
        "each, and tests of the gaps; may be repeated.",
        flag="subgroup",
        default_text="the columns that results are broken down by",
    )
    compare: Sequence[str] | None = texts(
        None,
        "Report these two arms only, and print how they compare.",
        metavar="A B",
        default_text="all arms",
    )
    planned: Sequence[str | tuple[str, str]] | None = texts(
        None,
        "Comparison A minus B that was planned before the results were seen; may be repeated. Planned comparisons are "
        "stated first and adjusted among themselves; all others are exploratory.",
        metavar="A:B",
        types=(tuple, list),
        default_text="those of the study file",
    )
    thumbnails: bool = switch(
        False, "Show the images of the most confident mistakes. Note who may see these images."
    )
    manifest: Path | str | Manifest | None = path(
        None,
        "Manifest of the images, for --thumbnails, and for the columns of Table 1 that earlier runs did not record; a study "
        "knows its own.",
        types=(object,),
    )
    saliency: Path | str | None = path(
        None, "Show the maps that `featx saliency` has written to this folder."
    )
    embedding: Path | str | None = path(
        None, "Show the maps that `featx embedding` has written to this folder."
    )
    prevalence: float | None = number(
        None,
        "Prevalence (fraction of positives) at which predictive values are stated.",
        low=0,
        high=1,
        open=True,
        default_text="that of the training set",
    )
    checklist: Sequence[str] | None = choices(
        None,
        CHECKLISTS,
        "Fill the items of this reporting guideline that runs can answer, as checklists/NAME.md; may be repeated.",
    )
    mlflow: str | None = text(
        None,
        "Log the report to this MLflow tracking server, or sqlite: or file: store: one MLflow run for each arm and task.",
        metavar="URI",
    )
    ignore: Sequence[str] | None = texts(
        None,
        "Ignore the method check of this code, such as FX404, because it does not apply; may be repeated.",
        metavar="CODE",
        default_text="none",
    )
    figures: bool = switch(True, "Draw figures, which takes most of the time.")
    figure_formats: Sequence[str] | None = choices(
        None,
        FIGURE_FORMATS,
        "Write figures as files of this format, instead of svg alone; may be repeated. The page does not change.",
        flag="figure-format",
        default_text="svg",
    )
    refresh: float | None = other(
        None, "Seconds after which the page reloads itself, for a study that is running.", int, float
    )

    def check(self) -> None:
        """Refuse an empty list of arms to compare."""
        if self.compare is not None and not self.compare:
            raise ConfigError(
                "The 'compare' parameter must name arms. Got none; leave it out to report all arms."
            )

    def given(self) -> dict[str, Any]:
        """Return what takes precedence over a study's own options."""
        names = (
            *("title", "strata", "subgroups", "compare", "planned", "saliency", "embedding", "prevalence"),
            *("ignore", "figures", "figure_formats", "refresh", "checklist", "mlflow"),
        )
        return {name: value for name in names if (value := getattr(self, name)) is not None}
