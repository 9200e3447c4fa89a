"""The verb `card`: the model card of a run, as Markdown or as an HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from featx.deploy.exports.export_settings import CardSettings
from featx.deploy.exports.model_card import ModelCard, model_card
from featx.deploy.run_model import read_models
from featx.files import write_text
from featx.options import verb
from featx.reporting import escaped_markdown, markdown, page_templates, shown

__all__ = ["card_text", "write_card"]


@verb(CardSettings)
def write_card(runs: Sequence[Path | str] | Path | str, options: CardSettings) -> Path:
    """Write the model card of the runs of one arm.

    The card says what the model is, what it is for, what it was trained and tested on, and how well it does, under the
    headings of Mitchell et al. 2019. It reads the records of the runs only: equal runs give an equal card.

    Parameters
    ----------
    runs : path or sequence of paths
        Folders of runs of `train_svm` or `finalize`, or folders that hold some: the folds of one arm.
    {options}

    Returns
    -------
    Path
        The card.

    Raises
    ------
    RunError
        If there is no SVM run, or the runs are not the folds of one arm.
    ConfigError
        If the output ends in neither .md nor .html.

    Examples
    --------
    ::

        featx.write_card("reports/runs/frozen/melanoma-rest/5x2", output="card.html", licence="CC BY 4.0")
    """
    target = Path(options.output)
    card = model_card(read_models(runs), licence=options.licence)
    write_text(target, card_text(card, target.suffix))
    return target


def card_text(card: ModelCard, ending: str) -> str:
    """Write a card as Markdown (ending ``.md``) or HTML (``.html``)."""
    return _WRITERS[ending](card)


def _markdown(card: ModelCard) -> str:
    parts = [f"# {escaped_markdown(card.title)}\n"]
    for section in card.sections:
        parts.append(f"## {escaped_markdown(section.title)}\n")
        parts += [f"{escaped_markdown(text)}\n" for text in section.paragraphs]
        parts += ["".join(f"- {escaped_markdown(text)}\n" for text in section.items)] if section.items else []
        parts += [f"#{markdown(table)}" for table in section.tables]
        parts += [f"```python\n{section.code}```\n"] if section.code else []
    return "\n".join(parts)


def _html(card: ModelCard) -> str:
    return page_templates("featx.deploy.exports").get_template("card.html.j2").render(card=card, shown=shown)


_WRITERS = {".md": _markdown, ".html": _html}
