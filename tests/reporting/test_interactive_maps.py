"""Embedding maps of the page in a real browser: by mouse, by keyboard, on narrow screens, checked by axe-core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from featx.reporting.make_report import Report, report_runs

from .test_embedding_tables import folder
from .test_page import Visit

__all__ = ["folder"]


@pytest.fixture(scope="module")
def mapped(folder: Path) -> Report:
    return report_runs([folder / "runs"], output=folder / "page", embedding=folder / "maps", figures=False)


def test_a_point_tells_what_it_is_under_the_pointer(browser: Any, mapped: Report) -> None:
    visit = Visit(browser, mapped)
    tip = visit.page.locator("#map-1 .tip")
    assert not tip.is_visible()
    circle = visit.page.locator("#map-1 circle").nth(40)
    circle.scroll_into_view_if_needed()
    circle.hover(force=True)
    assert tip.is_visible()
    assert tip.locator("p").nth(1).inner_text().startswith("label ")
    assert visit.page.locator("#map-1 circle.here").count() == 1
    visit.page.locator("h1").hover()
    assert not tip.is_visible()
    assert visit.troubles == []


def test_arrow_keys_walk_from_point_to_point(browser: Any, mapped: Report) -> None:
    visit = Visit(browser, mapped)
    tip = visit.page.locator("#map-1 .tip")
    visit.page.locator("#map-1 .mapbox").focus()
    told = []
    for _ in range(3):
        visit.page.keyboard.press("ArrowRight")
        told.append(float(visit.page.locator("#map-1 circle.here").get_attribute("cx")))
    assert told == sorted(set(told))
    assert tip.is_visible()
    visit.page.keyboard.press("Escape")
    assert not tip.is_visible()
    assert visit.troubles == []


def test_another_colouring_changes_points_and_legend(browser: Any, mapped: Report) -> None:
    page = Visit(browser, mapped).page
    before = page.locator("#map-1 circle.c2").count()
    page.locator("#map-1 select").select_option("Fold")
    assert before == 0
    assert page.locator("#map-1 circle.c2").count() > 0
    assert page.locator("#map-1 .key:not([hidden])").get_attribute("aria-label") == "Fold"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_narrow_pages_do_not_scroll_sideways(
    browser: Any, axe: str, mapped: Report, scheme: str
) -> None:
    page = Visit(browser, mapped, scheme, 390).page
    page.add_script_tag(content=axe)
    page.locator("#map-1 .mapbox").focus()
    page.keyboard.press("ArrowRight")
    found = page.evaluate("axe.run('#map-1')")["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:120]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
