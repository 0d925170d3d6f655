"""The part of the page that shows queries: what is ranked for some of them, before and after."""

from finetuner.reports.findings import Chosen, Example, Findings, Place, Ranking, Shown
from finetuner.reports.markup import Child, Markup, element
from finetuner.reports.words import kind_of, label, metric_name, signed

_HEADINGS: dict[Chosen, tuple[str, str]] = {
    "won": ("Won", "The queries that gained most."),
    "lost": ("Lost", "The queries that lost most."),
    "drawn": ("Drawn by chance", "From all others, so that extremes do not speak for the rest."),
}


def queries(found: Findings) -> Markup:
    """Return the section: examples, those won first."""
    view = found.views[0]
    parts: list[Child] = []
    for chosen, (heading, told) in _HEADINGS.items():
        some = [one for one in found.examples if one.chosen == chosen]
        if some:
            parts += [element("h3", heading), element("p", told), [_example(one, found) for one in some]]
    what = "the anchor's own judged matches" if view.over == "judged" else "all contents but the anchor"
    told = f"Each shows the first places among {what}: ✓ is a positive, ✗ a negative, ? unjudged; the number is the label."
    return element("section", element("h2", "Queries"), element("p", told, class_="note"), parts)


def _example(example: Example, found: Findings) -> Markup:
    heading = example.anchor.id
    if example.before is not None:
        heading += f": {metric_name(found.metric)} {example.before.score:.3f} → {example.after.score:.3f}"
        heading += f" ({_change(example.before, example.after)})"
    else:
        heading += f": {metric_name(found.metric)} {example.after.score:.3f}"
    sides = [
        _ranking(name, ranking)
        for name, ranking in ((found.rival, example.before), (found.candidate, example.after))
        if name is not None and ranking is not None
    ]
    return element(
        "article",
        element("h4", heading),
        element(
            "div",
            _asked(example.anchor),
            element("div", sides, class_="sides"),
            class_=None if example.anchor.picture is None else "row",
        ),
    )


def _change(before: Ranking, after: Ranking) -> str:
    change = signed(after.score - before.score)
    return change if change != signed(0) else "level"


def _asked(anchor: Shown) -> Markup:
    if anchor.picture is None:
        return element("p", anchor.text, class_="asked")
    return element("div", element("img", src=anchor.picture, alt=f"the anchor, {anchor.id}"), class_="asked")


def _ranking(name: str, ranking: Ranking) -> Markup:
    first = f", first positive at {ranking.first_positive:,}"
    pictures = all(place.content.picture is not None for place in ranking.top)
    make = _picture if pictures else _text
    return element(
        "div",
        element("b", name),
        first,
        element(
            "ol",
            [make(at, place) for at, place in enumerate(ranking.top, 1)],
            class_="places pictures" if pictures else "places texts",
        ),
    )


def _picture(at: int, place: Place) -> Markup:
    kind = kind_of(place.label)
    told = f"place {at}: {place.content.id}, {kind}, distance {place.distance:.3f}"
    mark = element("span", label(place.label), class_="mark")
    return element("li", element("img", src=place.content.picture, alt=told, title=told), mark, class_=kind)


def _text(at: int, place: Place) -> Markup:
    return element(
        "li",
        element("span", str(at)),
        element("span", label(place.label), class_="mark"),
        element("span", place.content.text, class_="said", title=place.content.id),
        class_=kind_of(place.label),
    )
