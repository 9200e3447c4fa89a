"""What runs say of data, participants and parts: one function for each answer of a checklist."""

from __future__ import annotations

from featx.errors import listing
from featx.reporting.participants import KEPT, OUT, PART, SET, Flow, PartImage, Span, flows, parts_of
from featx.reporting.series import Series

from .checklist_facts import Answer, Facts, Filler, NotApplicable, counted

__all__ = ["DATA_FILLERS"]

_PARTS = ("flow-*", "characteristics-*")


def _flow_of(facts: Facts, series: tuple[Series, ...]) -> Flow:
    return flows(facts.summary, series[0].setting)[0]


def _counted(images: Span | None, groups: Span | None, grouped: bool) -> str:
    words = [counted(images, "image")] if images else []
    return " of ".join([*words, *([counted(groups, "group")] if groups and grouped else [])])


def _boxes(flow: Flow, *kinds: str) -> list[str]:
    """Write the boxes of some kinds with their sizes."""
    return [
        f"{box.title.lower()} {text}"
        for box in flow.boxes
        if box.kind in kinds and (text := _counted(box.sizes.images, box.sizes.groups, flow.grouped))
    ]


def sources(facts: Facts) -> Answer | None:
    """Name the manifests."""
    names = facts.values(lambda record: record.manifest.get("name"))
    outside = list(dict.fromkeys(one.name for one in facts.summary.external))
    text = f"Development and internal tests: {listing(names)}." if names else ""
    text += f" External tests: {listing(outside)}." if outside else ""
    return Answer(text.strip(), _PARTS) if text else None


def eligibility(facts: Facts) -> Answer | None:
    """State what the task and missing features left out."""

    def tell(series: tuple[Series, ...]) -> str:
        flow = _flow_of(facts, series)
        out = [
            f"{box.title.lower()}{f' ({box.detail})' if box.detail else ''}: {counted(box.sizes.images, 'image')}"
            for box in flow.boxes
            if box.kind == OUT and box.sizes.images
        ]
        kept = f"Classes kept: {', '.join(series[0].classes)}."
        return f"{kept} Left out: {'; '.join(out) or 'nothing'}." if flow.recorded else ""

    text = facts.each(tell)
    return Answer(text, _PARTS) if text else None


def flow(facts: Facts) -> Answer | None:
    """State the flow of images and groups."""

    def tell(series: tuple[Series, ...]) -> str:
        found = _flow_of(facts, series)
        known = _boxes(found, KEPT, OUT, PART, SET)
        unknown = "" if found.recorded else " Exclusions are not recorded by these runs."
        return f"{_capital('; '.join(known))}.{unknown}" if known else ""

    text = facts.each(tell)
    return Answer(text, _PARTS) if text else None


def events(facts: Facts) -> Answer | None:
    """State images and events of each part."""

    def tell(series: tuple[Series, ...]) -> str:
        found = _flow_of(facts, series)
        lines = []
        for box in (one for one in found.boxes if one.kind in (PART, SET)):
            classes = [f"{name} {images}" for name, (images, _) in box.sizes.classes.items() if images]
            lines.append(f"{box.title}: {', '.join(classes)} images")
        inner = facts.setting("inner_splits")
        tuned = f" C is chosen on {inner} inner splits of each training set." if inner else ""
        return f"{'; '.join(lines)}.{tuned}"

    return Answer(facts.each(tell), _PARTS)


def characteristics(facts: Facts) -> Answer | None:
    """Point to Table 1 if it describes training and test sets."""
    tables = [table for table in facts.tables if table.name.startswith("characteristics-")]
    columns = list(
        dict.fromkeys(
            str(row[0])
            for table in tables
            for row in table.rows
            if row[0] not in ("Images", "Groups", "Class") and "not recorded" not in row
        )
    )
    if not columns:
        return None
    return Answer(f"By part: images, groups, classes, {listing(columns, 12)}.", ("characteristics-*",))


def partition(facts: Facts) -> Answer:
    """State protocol, folds and sizes of the parts."""

    def tell(series: tuple[Series, ...]) -> str:
        found = _flow_of(facts, series)
        folds = f"{found.folds} folds" if found.folds > 1 else "one training and one test set"
        return f"Protocol {series[0].protocol}: {folds}; {'; '.join(_boxes(found, PART))}. {_apart(facts, series)}"

    return Answer(facts.each(tell), ("flow-*", "folds-*"))


def disjoint(facts: Facts) -> Answer:
    """State the level at which the parts are disjoint."""
    return Answer(facts.each(lambda series: _apart(facts, series)), ("flow-*",))


def _apart(facts: Facts, series: tuple[Series, ...]) -> str:
    """State whether training and test sets share groups, as far as the runs list them."""
    if not _flow_of(facts, series).grouped:
        return (
            "The manifest has no groups: the parts share no image, but may share patients or lesions. Training refuses "
            "byte-identical images in both."
        )
    parts = parts_of(facts.summary, series[0].setting)
    level = "Groups (patients, cases or lesions) are kept together; training refuses folds that part them, and byte-identical images in both parts."
    if not (parts["Training"] and parts["Test"]):
        return level
    shared = [
        _groups(train) & _groups(test) for train, test in zip(parts["Training"], parts["Test"], strict=True)
    ]
    return f"{level} Groups that training and test set of a fold share, as listed by the runs: {sum(map(len, shared))}."


def _groups(images: list[PartImage]) -> set[str]:
    return {one.group for one in images}


def subsets(facts: Facts) -> Answer | NotApplicable | None:
    """State whether a part of the images was selected."""
    told = [_flow_of(facts, series) for _, series in facts.by_task()]
    if not all(one.recorded for one in told):
        return None
    out = [box for one in told for box in one.boxes if box.kind == OUT and box.title.startswith("In neither")]
    if not out:
        return NotApplicable(
            "every image of the task with features is in a training or a test set; whole images are used."
        )
    return Answer(f"Images of the task that a fold uses in neither part: {out[0].sizes.images}.", ("flow-*",))


def missing(facts: Facts) -> Answer | None:
    """State how images without features, and columns without values, were handled."""

    def tell(series: tuple[Series, ...]) -> str:
        found = _flow_of(facts, series)
        out = [box for box in found.boxes if box.kind == OUT and box.title == "Without features"]
        if not found.recorded and not (out and out[0].sizes.images):
            return ""
        if not out:
            return "No image was left out because it has no features; nothing is imputed."
        return f"Left out because they have no features: {counted(out[0].sizes.images, 'image')}; nothing is imputed."

    text = facts.each(tell)
    more = (
        " Images without a value in a column are left out of its subgroups." if facts.summary.strata else ""
    )
    return Answer(f"{text}{more}", _PARTS) if text else None


def outcome(facts: Facts) -> Answer:
    """State the classes of each task."""

    def tell(series: tuple[Series, ...]) -> str:
        one = series[0]
        if len(one.scored) == 1:
            return f"{one.scored[0]} (positive) against {', '.join(name for name in one.classes if name not in one.scored)}."
        return f"{len(one.classes)} classes: {', '.join(one.classes)}."

    return Answer(f"Task {facts.each(tell)} Labels are those of the manifest.", ("flow-*",))


def sample_size(facts: Facts) -> Answer | None:
    """State the sizes and what they could detect."""
    text = facts.each(lambda series: f"{_capital('; '.join(_boxes(_flow_of(facts, series), PART)))}.")
    found = [row["smallest"] for row in facts.rows("power") if row["smallest"] is not None]
    if found:
        span = f"{min(found):.3f}" if len(found) == 1 else f"{min(found):.3f} to {max(found):.3f}"
        text += f" Minimum detectable difference between two arms (80 % power): {span} AUC."
    return Answer(text, ("flow-*", "power")) if text else None


def prevalence(facts: Facts) -> Answer | None:
    """State how frequent each class is in the test sets."""
    text = facts.each(_fractions)
    return Answer(f"Test sets: {text}", (*_PARTS, "predictive-values")) if text else None


def _fractions(series: tuple[Series, ...]) -> str:
    rows = {row.id: row.actual for run in series[0].runs for row in run.predictions}
    counts = {name: list(rows.values()).count(name) for name in series[0].classes}
    return (
        ", ".join(
            f"{name} {count} of {len(rows)} ({100 * count / len(rows):.1f} %)"
            for name, count in counts.items()
        )
        + "."
    )


def external_differences(facts: Facts) -> Answer | NotApplicable:
    """Compare external with internal sets."""
    if not facts.summary.external:
        return NotApplicable("no external test set was scored; all parts come from one manifest.")
    lines = list(
        dict.fromkeys(
            f"{one.name}: {_fractions((one.tested,))} Internal: {_fractions((one.internal,))}"
            for one in facts.summary.external
        )
    )
    return Answer(" ".join(lines), ("characteristics-*", "external", "external-strata", "external-overlap"))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


DATA_FILLERS: dict[str, Filler] = {
    function.__name__: function
    for function in (
        *(
            sources,
            eligibility,
            flow,
            events,
            characteristics,
            partition,
            disjoint,
            subsets,
            missing,
            outcome,
        ),
        *(sample_size, prevalence, external_differences),
    )
}
