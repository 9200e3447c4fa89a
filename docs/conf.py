"""The documentation site: these Markdown pages, the gallery of `examples/`, and the Python API from the docstrings.

`make docs` builds it into `build/docs` without an internet connection. Warnings are errors.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

import featx

DOCS = Path(__file__).parent
EXAMPLES = DOCS.parent / "examples"
sys.path.insert(0, str(EXAMPLES))  # the modules that the examples share

project, author, copyright = "featx", "The featx authors", "the featx authors"
version = release = featx.__version__
extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
root_doc = "index"
default_role = "py:obj"
templates_path = ["_templates"]
exclude_patterns = ["**/README.txt", "gallery/**.ipynb"]
nitpicky = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "ignore_pattern": r"(synthetic_skin|own_networks)\.py",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "min_reported_time": 1_000_000,
    "write_computation_times": False,
    "image_srcset": ["2x"],
    "within_subsection_order": "FileNameSortKey",
}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "featx"
html_static_path = ["_static"]
html_css_files = ["featx.css"]
html_js_files = ["featx.js"]
html_show_sphinx = False
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "featx"},
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "header_links_before_dropdown": 6,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

# Files beside docs/ that the site shows as pages of its own, under the names of these pages.
BESIDE = {
    "ARCHITECTURE": "architecture",
    "CHANGELOG": "changelog",
    "CONTRIBUTING": "contributing",
    "SECURITY": "security",
    "README": "index",
    "benchmarks/README": "benchmarks",
}
PYTHON_API = tomllib.loads((DOCS / "python_api.toml").read_text(encoding="utf-8"))


def links_inside(text: str) -> str:
    """Turn links between the files of the repository into links between pages."""
    names = "|".join(BESIDE)
    text = re.sub(rf"\]\((?:\.\./)?({names})\.md", lambda found: f"]({BESIDE[found[1]]}.md", text)
    return re.sub(r"\]\((?:\.\./)?docs/", "](", text)


def remove_stale_pages(public: set[str]) -> None:
    """Remove generated pages of names and examples that are gone, which no table of contents would list."""
    for page in (DOCS / "api" / "generated").glob("*.rst"):
        if page.stem not in public:
            page.unlink()
    for page in (DOCS / "gallery").glob("*.rst"):
        if page.stem not in ("index", "sg_execution_times") and not (EXAMPLES / f"{page.stem}.py").exists():
            page.unlink()


def write_api_page() -> set[str]:
    """List the public names of the package, and of its rooms those that are useful beyond other rooms."""
    public = {f"featx.{name}" for name in featx.__all__}
    lines = [
        "Python API",
        "==========",
        "",
        "The names that ``import featx`` offers, then those of the rooms that are useful in notebooks.",
        "",
    ]
    lines += _names("featx", [name for name in featx.__all__ if name != "__version__"])
    for room in PYTHON_API["rooms"]:
        module = import_module(f"featx.{room}")
        first = " ".join((module.__doc__ or "").split("\n\n")[0].split())
        known = {*featx.__all__, *PYTHON_API["for_other_rooms"].get(room, ())}
        names = [name for name in module.__all__ if name not in known and callable(getattr(module, name))]
        public |= {f"featx.{room}.{name}" for name in names}
        lines += [f"featx.{room}", "-" * (len(room) + 6), "", first, "", *_names(f"featx.{room}", names)]
    page = DOCS / "api" / "index.rst"
    page.parent.mkdir(exist_ok=True)
    text = "\n".join(lines)
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")
    return public


def _names(module: str, names: list[str]) -> list[str]:
    return [
        f".. currentmodule:: {module}",
        "",
        ".. autosummary::",
        "   :toctree: generated",
        "   :nosignatures:",
        "",
        *(f"   {name}" for name in names),
        "",
    ]


remove_stale_pages(write_api_page())


def setup(app: Sphinx) -> None:
    """Connect what is written above."""

    def page(_: Sphinx, __: str, content: list[str]) -> None:
        content[0] = links_inside(content[0])

    def included(_: Sphinx, __: Any, ___: str, content: list[str]) -> None:
        content[0] = links_inside(content[0])

    app.connect("source-read", page)
    app.connect("include-read", included)
    app.add_lexer("csv", TextLexer)
