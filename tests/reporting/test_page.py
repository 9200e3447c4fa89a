"""The page in a real browser: Debian's chromium, driven by playwright, checked by axe-core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from featx.reporting import page as html
from featx.reporting.make_report import Report, report_runs
from featx.reporting.page import origins, relative_paths
from featx.reporting.report_contents import CONTENTS, drawings, tables
from featx.reporting.sections.statements import findings
from featx.reporting.summary import Summary, summarise
from featx.runs import Run

from .conftest import FOLDS, LONG, every, score_outside, several


class Visit:
    """An open page with what went wrong on it."""

    def __init__(self, browser: Any, made: Report | Path, scheme: str = "light", width: int = 1280) -> None:
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        self.page = context.new_page()
        self.troubles: list[str] = []
        self.requests: list[str] = []
        self.page.set_default_timeout(10_000)
        self.page.on("console", lambda message: self.troubles.append(message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto((made if isinstance(made, Path) else made.html).as_uri())

    def column(self, table: str, number: int) -> list[str]:
        cells = self.page.locator(f"#{table} tbody tr:not([hidden]) > :nth-child({number})")
        return [text.strip() for text in cells.all_inner_texts()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_console_message_and_no_request(browser: Any, made: Report, scheme: str) -> None:
    visit = Visit(browser, made, scheme)
    visit.page.wait_for_load_state("networkidle")
    assert visit.troubles == []
    assert [url for url in visit.requests if not url.startswith("data:")] == [made.html.as_uri()]


def test_a_click_sorts_by_number_and_a_second_one_turns_it_round(browser: Any, made: Report) -> None:
    visit = Visit(browser, made)
    button = visit.page.locator("#table-auc").get_by_role("button", name="AUC", exact=True)
    button.click()
    rising = visit.column("table-auc", 5)
    assert rising == sorted(rising, key=float)
    assert visit.page.locator("#table-auc th[aria-sort=ascending]").count() == 1
    button.click()
    assert visit.column("table-auc", 5) == rising[::-1]
    assert visit.troubles == []


def test_a_table_sorts_from_the_keyboard(browser: Any, made: Report) -> None:
    visit = Visit(browser, made)
    visit.page.locator("#table-auc-by-arm th button").first.focus()
    visit.page.keyboard.press("Enter")
    visit.page.keyboard.press("Enter")
    names = visit.column("table-auc-by-arm", 1)
    assert names == ["source + fine-tuned", "source", "random"]


def test_a_filter_keeps_the_rows_with_every_word_and_counts_them(browser: Any, made: Report) -> None:
    visit = Visit(browser, made)
    visit.page.locator("#filter-strata").fill("high fine")
    assert visit.column("table-strata", 3) == ["source + fine-tuned"]
    assert visit.page.locator("output[for=filter-strata]").inner_text() == "1 of 9 rows"
    visit.page.locator("#filter-strata").fill("")
    assert len(visit.column("table-strata", 3)) == 9


def test_provenance_is_one_click_away(browser: Any, made: Report) -> None:
    visit = Visit(browser, made)
    origin = visit.page.locator("#origin-1")
    assert not origin.get_by_text("random:0").is_visible()
    origin.locator("summary").click()
    assert origin.get_by_text("random:0").is_visible()
    visit.page.evaluate("location.hash = '#origin-2'")
    visit.page.wait_for_selector("#origin-2[open]")


def test_dark_and_light_differ_in_page_and_figures(browser: Any, made: Report) -> None:
    colours = set()
    for scheme in ("light", "dark"):
        page = Visit(browser, made, scheme).page
        colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        label = "getComputedStyle(document.querySelector('figure svg text')).fill"
        colours.add(page.evaluate(label))
    assert len(colours) == 4


@pytest.fixture(scope="module")
def busy(arms: Callable[..., Summary], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of five arms with long names."""
    summary = arms(5)
    path = tmp_path_factory.mktemp("busy") / "report.html"
    with_data = {
        name: tuple(one for one in several if one.figure) for name, several in drawings(summary).items()
    }
    filled = dict(tables(summary))
    sections = [
        html.PageSection(one.id, one.title, figures=with_data[one.id], tables=filled[one.id])
        for one in CONTENTS
    ]
    path.write_text(html.render_page(summary, sections, findings(summary), "Long names"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The page of two arms with an external test set."""
    folder = tmp_path_factory.mktemp("outside")
    runs = score_outside(
        several(folder / "runs", LONG[:2], folds=FOLDS[:2]), name="Hospital of a long name, 2019"
    )
    return report_runs([runs], output=folder / "report")


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 390, 1280])
def test_the_page_never_scrolls_sideways(browser: Any, busy: Path, outside: Report, width: int) -> None:
    for made in (busy, outside):
        open_page = Visit(browser, made, width=width).page
        assert open_page.evaluate("document.documentElement.scrollWidth") <= width


# The width of each figure that is shown, and the height of its smallest letters, in pixels of the screen.
FIGURES = """[...document.querySelectorAll('.drawing')].map((drawing) => {
  const [shown, ...others] = [...drawing.children].filter((one) => one.getBoundingClientRect().width > 0);
  const sizes = [...shown.querySelectorAll('text')].map((text) => parseFloat(getComputedStyle(text).fontSize));
  const scale = shown.getBoundingClientRect().width / shown.viewBox.baseVal.width;
  const box = drawing.closest('.scroll');
  return [others.length, box.scrollWidth <= box.clientWidth, scale * Math.min(...sizes), shown.dataset.name];
})"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_figures_fit_the_screen_with_letters_large_enough_to_read(
    browser: Any, busy: Path, outside: Report, width: int
) -> None:
    found = [
        one for made in (busy, outside) for one in Visit(browser, made, width=width).page.evaluate(FIGURES)
    ]
    assert any(name.startswith("external") for *_, name in found)
    for others, fits, letters, name in found:
        assert others == 0, name
        assert fits, name
        assert letters >= 10, name
        assert name.endswith("-narrow") == (width == 390), name


@pytest.mark.slow
def test_the_answer_stands_within_a_thousand_pixels(
    browser: Any, busy: Path, arms: Callable[..., Summary], answers: Callable[[Sequence[str]], set[str]]
) -> None:
    visit = Visit(browser, busy)
    for table in every(arms(5)):
        wanted = answers([column.name for column in table.columns])
        for place, column in enumerate(table.columns, 1):
            if column.name in wanted:
                head = visit.page.locator(f"#table-{table.name} thead th:nth-child({place})")
                assert head.evaluate("(cell) => cell.getBoundingClientRect().right") <= 1000, table.name


@pytest.mark.slow
def test_wide_tables_scroll_visibly_and_from_the_keyboard_and_keep_their_first_column(
    browser: Any, busy: Path
) -> None:
    visit = Visit(browser, busy)
    box = visit.page.locator(".scroll:has(#table-pairs-malignant-vs-benign)")
    assert box.evaluate("(one) => one.scrollWidth > one.clientWidth + 100")
    assert "linear-gradient" in box.evaluate("(one) => getComputedStyle(one).backgroundImage")
    first = box.locator("tbody tr:first-child th")
    before = first.bounding_box()
    box.focus()
    for _ in range(5):
        visit.page.keyboard.press("ArrowRight")
    visit.page.wait_for_function("(one) => one.scrollLeft > 50", arg=box.element_handle())
    assert first.bounding_box()["x"] == pytest.approx(before["x"], abs=1)


def test_paper_shows_everything(browser: Any, made: Report) -> None:
    page = Visit(browser, made).page
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(
    browser: Any, axe: str, made: Report, outside: Report, scheme: str
) -> None:
    for one in (made, outside):
        page = Visit(browser, one, scheme).page
        page.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
        page.add_script_tag(content=axe)
        found = page.evaluate("axe.run()")["violations"]
        serious = [item for item in found if item["impact"] in {"serious", "critical"}]
        assert [(item["id"], item["nodes"][0]["html"][:120], len(item["nodes"])) for item in serious] == []


Write = Callable[..., Run]


def test_what_runs_share_is_said_once_and_what_differs_as_such(write: Write, tmp_path: Path) -> None:
    for number, fold in enumerate(("1x1", "1x2", "2x1")):
        write(
            "E",
            fold,
            lineage=("imagenet", f"atlas, fold {fold}"),
            features={"digest": f"{number}" * 64, "recipe": {"backbone": "tiny", "weights": f"{number}"}},
            settings={"search": {"splits": 10}},
            counts={"train": {"benign": 40 + number, "malignant": 20}},
        )
    (origin,) = origins(summarise([tmp_path / "runs"]))
    facts = dict(origin.facts)
    assert facts["Weights lineage"] == tuple(
        f"imagenet → atlas, fold {fold}" for fold in ("1x1", "1x2", "2x1")
    )
    assert facts["Feature recipe"] == (
        "backbone: tiny",
        "weights: 3 values; see run.json of each run",
    )
    assert facts["Settings"] == ("search.splits: 10",)
    assert facts["Counts"] == ("train.benign: 40 to 42", "train.malignant: 20")
    assert [row[0] for row in origin.runs] == ["1x1", "1x2", "2x1"]
    assert origin.hint == "3 runs"


def test_fine_tuning_has_its_own_provenance(write: Write, tmp_path: Path) -> None:
    write("E", "1x1")
    write("tuned", "1x1", [], folder="weights", kind="finetune")
    found = origins(summarise([tmp_path]))
    assert [item.id for item in found] == ["origin-1", "training-1"]
    assert found[1].title == "tuned: fine-tuning on malignant-vs-benign"


def test_places_do_not_depend_on_where_the_runs_lie(write: Write, tmp_path: Path) -> None:
    runs = (write("A", "1x1"), write("B", "1x1"))
    assert list(relative_paths(runs).values()) == [
        "A/malignant-vs-benign/5x2/1x1",
        "B/malignant-vs-benign/5x2/1x1",
    ]
    assert list(relative_paths(runs[:1]).values()) == ["1x1"]
    assert relative_paths(()) == {}
