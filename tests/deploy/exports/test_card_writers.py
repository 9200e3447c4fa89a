"""One content, two writers: Markdown and HTML, with everything escaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from featx.deploy.exports.card_writers import card_text, write_card
from featx.deploy.exports.model_card import CardSection, ModelCard
from featx.errors import RunError
from featx.reporting import Column, Table

TABLE = Table(
    "t", "A <b>", "note & more", (Column("a", "A|b", text=True), Column("n", "N")), (("<i>*x*</i>", 0.5),)
)
CARD = ModelCard(
    "Card <script>", (CardSection("One_two", ("a *b* <c>",), ("item <d>",), (TABLE,), "print('<e>')\n"),)
)


def test_markdown_is_escaped():
    text = card_text(CARD, ".md")
    assert text.startswith("# Card \\<script\\>\n")
    assert "## One\\_two\n" in text
    assert "### A \\<b\\>\n" in text
    assert "| \\<i\\>\\*x\\*\\</i\\> | 0.500 |" in text
    assert "- item \\<d\\>\n" in text
    assert "```python\nprint('<e>')\n```" in text


def test_html_is_escaped_and_has_the_same_content():
    text = card_text(CARD, ".html")
    assert not re.search(r"<(script|b|c|i|d|e)>", text)

    class Words(HTMLParser):
        found = ""

        def handle_data(self, data):
            self.found += data

    reader = Words()
    reader.feed(text)
    for part in (
        "Card <script>",
        "One_two",
        "a *b* <c>",
        "item <d>",
        "A <b>",
        "A|b",
        "<i>*x*</i>",
        "0.500",
        "print('<e>')",
    ):
        assert part in reader.found


@pytest.mark.parametrize("ending", [".md", ".html"])
def test_the_card_of_an_arm_is_written_and_repeats_itself(place, tmp_path, ending):
    paths = [write_card(place.runs, output=tmp_path / f"{name}{ending}", licence="X11") for name in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert "X11" in paths[0].read_text()


def test_no_run_is_an_error_and_writes_nothing(tmp_path):
    with pytest.raises(RunError, match="no such folder"):
        write_card(tmp_path / "none", output=tmp_path / "card.md")
    assert list(tmp_path.iterdir()) == []
