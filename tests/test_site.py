"""The documentation site: built without warnings, every example executed, every internal link and page looked at."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))
LOOKED_AT = (
    "index.html",
    "start-here.html",
    "how-to.html",
    "statistics-explained.html",
    "statistics.html",
    "data.html",
    "commands.html",
    "architecture.html",
    "gallery/index.html",
    "gallery/plot_01_features_as_pandas.html",
    "gallery/plot_05_comparing_arms.html",
    "api/index.html",
    "api/generated/featx.train_svm.html",
    "api/generated/featx.FeatureStore.html",
)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Build the site once for all processes, from a copy in which no example has been executed yet."""
    pytest.importorskip("sphinx_gallery", reason="no site: the extra docs is not installed")
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "featx-site"
    with FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            build(folder)
    assert (folder / "done").read_text() == "0", (folder / "log").read_text()[-4000:]
    return folder / "html"


def build(folder: Path) -> None:
    ignored = shutil.ignore_patterns("api", "gallery", "__pycache__")
    for name in ("docs", "examples", "packaging"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    (folder / "benchmarks").mkdir()
    for path in [*ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md"]:
        shutil.copy(path, folder / path.relative_to(ROOT))
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", "html"]
    with (folder / "log").open("w") as log:
        done = subprocess.run(
            command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        )
    (folder / "done").write_text(str(done.returncode))


class Links(HTMLParser):
    """Targets of the links of a page, and its anchors."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.targets += [given[name] or "" for name in ("href", "src") if name in given]
        self.anchors |= {given[name] or "" for name in ("id", "name") if name in given}


def test_every_internal_link_leads_somewhere(site):
    pages = {page: Links(page) for page in site.rglob("*.html") if "_static" not in page.parts}
    broken = []
    for page, links in pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not file.exists() or (
                parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].anchors
            ):
                broken.append(f"{page.relative_to(site)}: {target}")
    assert broken == []
    assert len(pages) > 100


def test_every_example_was_executed_and_made_a_picture(site):
    assert len(EXAMPLES) >= 15
    for example in EXAMPLES:
        page = (site / "gallery" / f"{example.stem}.html").read_text(encoding="utf-8")
        assert f"sphx_glr_{example.stem}_001" in page, example.name


def test_nothing_is_loaded_from_the_internet(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(script|img|iframe)[^>]*src=\"(https?:)?//", text), page
        assert not re.search(r"<link[^>]*rel=\"(stylesheet|preload)\"[^>]*href=\"(https?:)?//", text), page


def opened(browser, page: Path, width: int, scheme: str, query: str = ""):
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    tab = context.new_page()
    tab.set_default_timeout(120_000)
    tab.asked = []
    tab.on("request", lambda request: tab.asked.append(request.url))
    tab.goto(page.as_uri() + query)
    return tab


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_and_axe_finds_no_violation(browser, axe, site, width, scheme):
    wide, found = [], []
    for name in LOOKED_AT:
        tab = opened(browser, site / name, width, scheme)
        sizes = tab.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        if sizes[0] > sizes[1]:
            wide.append((name, sizes))
        assert all(url.startswith(("file:", "data:")) for url in tab.asked), name
        assert tab.evaluate("document.documentElement.dataset.theme") == scheme
        tab.add_script_tag(content=axe)
        for one in tab.evaluate("axe.run()")["violations"]:
            found += [f"{name}: {one['id']} {node['html'][:160]}" for node in one["nodes"]]
        tab.context.close()
    assert wide == []
    assert found == []


def test_search_works_without_a_server(browser, site):
    tab = opened(browser, site / "search.html", 1280, "light", "?q=DeLong")
    tab.wait_for_selector('#search-results li a:has-text("tatistics")', timeout=30_000)
