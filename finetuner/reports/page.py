"""The page of a report: what it says, from the answer down to how it was measured."""

from collections.abc import Mapping

from finetuner.lifecycle.gate import FEWEST
from finetuner.reports.charts import STROKES, colour, curves, dot, scatter, shares, swatch, verdict
from finetuner.reports.deciding import decided, deciding
from finetuner.reports.findings import Findings, Plane, View
from finetuner.reports.markup import Child, Markup, document, element
from finetuner.reports.notes import notes
from finetuner.reports.queries import queries
from finetuner.reports.style import STYLE
from finetuner.reports.tables import metric_table, segment_table
from finetuner.reports.words import count, metric_name, p_value, percent, signed

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(found: Findings) -> str:
    """Return the page: one file of HTML, without a script and without anything from elsewhere."""
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", found.title),
    ]
    body = element(
        "main",
        _opening(found),
        [_view(view, found) for view in found.views],
        deciding(found),
        queries(found),
        _maps(found),
        _training(found),
        notes(found),
    )
    return document(head, STYLE, body, language="en")


def _opening(found: Findings) -> Child:
    data = found.data
    about = (
        f"{count(data.anchors, 'anchor')}, {count(data.contents, 'different content')} "
        f"({'texts' if data.kind == 'text' else 'arrays'}), {data.positive:,} positive and "
        f"{count(data.negative, 'negative judgement')}"
    )
    view = found.views[0]
    if found.rival is None:
        mean = view.metrics[found.candidate][found.metric]
        told = [element("b", found.candidate), f": {metric_name(found.metric)} {mean:.3f} {_asked(view)}."]
        leads: list[Child] = [element("p", told, class_="lead")]
    else:
        leads = [
            [element("p", _gain(name, view, found), class_="lead"), _tally(name, view)]
            for name in found.rivals
        ]
    few = None
    if view.anchors < FEWEST:
        few = element("p", f"So few anchors cannot tell encoders apart; {FEWEST} are the least that can.")
    gate = decided(found.promotion.decision)
    return [element("h1", found.title), element("p", about, class_="about"), leads, few, gate]


def _gain(rival: str, view: View, found: Findings) -> Child:
    """Return the answer in a sentence."""
    name, difference = metric_name(found.metric), view.differences[rival][found.metric]
    said = {"better": "better than", "worse": "worse than"}.get(
        verdict(difference), "not clearly different from"
    )
    before, after = (view.metrics[one][found.metric] for one in (rival, found.candidate))
    return [
        element("b", found.candidate),
        " ranks ",
        element("b", said, class_=verdict(difference)),
        " ",
        element("b", rival),
        f": {name} {before:.3f} → {after:.3f}, {signed(difference.mean)} ({percent(found.confidence)} interval "
        f"{signed(difference.low)} to {signed(difference.high)}, {p_value(difference.p)}) {_asked(view)}.",
    ]


def _tally(rival: str, view: View) -> Child:
    tally = view.tallies[rival]
    told = f"Of {view.anchors:,} queries {tally.won:,} won, {tally.level:,} level, {tally.lost:,} lost"
    return element("figure", shares(tally), element("figcaption", told))


def _asked(view: View) -> str:
    if view.over == "judged":
        return f"for {count(view.anchors, 'anchor')}, each ranking its own judged matches"
    return f"for {count(view.anchors, 'anchor')}, each ranking all contents"


def _view(view: View, found: Findings) -> Child:
    decides = " This is what decides." if view is found.views[0] and len(found.views) > 1 else ""
    able = view.anchors + view.not_drawn
    asked = f"{able:,} of {count(able + view.excluded, 'anchor')}"
    who = f"{view.anchors:,} of these, drawn by chance, are asked." if view.not_drawn else "They are asked."
    shares = ", ".join(f"{name} {share:.0%}" for name, share in view.unjudged.items())
    if view.over == "judged":
        heading = "Among judged matches (condensed)"
        told = (
            "Each anchor ranks its own judged matches. What nobody judged is left out, so it speaks neither for nor against an "
            f"encoder. {asked} have a positive and a negative match. {who}"
        )
        if shares:
            told += f" Among the first 10 places of all contents nobody judged: {shares}."
    else:
        heading = "Among all contents (strict)"
        told = (
            f"Each anchor ranks all {found.data.contents:,} contents but itself. What nobody judged for it counts as irrelevant, though some of it "
            "may be relevant: then the figures are too low, most of all for an encoder that finds what nobody looked at. Among "
            f"the first 10 places nobody judged: {shares}. {asked} have a positive match. {who}"
        )
    return element(
        "section",
        element("h2", heading),
        element("p", told + decides),
        element("div", metric_table(view, found), _recall(view), class_="beside"),
        segment_table(view, found) if view.segments else None,
    )


def _recall(view: View) -> Markup:
    told = "; ".join(
        f"{name}: {of[0][1]:.2f} at k = {of[0][0]}, {of[-1][1]:.2f} at k = {of[-1][0]}"
        for name, of in view.recall.items()
    )
    chart = curves(f"recall@k. {told}", view.recall, x="k", logarithmic=True)
    caption = "recall@k: share of the positives among the first k"
    return element("figure", chart, _legend(list(view.recall)), element("figcaption", caption))


def _legend(names: list[str]) -> Markup:
    """Return the lines of a chart by name, in their order; the last is drawn in the first of the strokes."""
    strokes = [STROKES[at % len(STROKES)] for at in range(len(names))][::-1]
    return element(
        "ul",
        [element("li", swatch(*stroke), name) for stroke, name in zip(strokes, names, strict=True)],
        class_="legend",
    )


def _training(found: Findings) -> Child:
    losses = [(float(one.epoch), one.loss) for one in found.epochs if one.loss is not None]
    scores = [
        (float(one.epoch), one.validation_map) for one in found.epochs if one.validation_map is not None
    ]
    charts = []
    if losses:
        charts.append(_curve({"loss": losses}, "mean training loss of each epoch"))
    if scores:
        at, best = max(scores, key=lambda one: (one[1], -one[0]))
        charts.append(_curve({"MAP": scores}, f"MAP on validation anchors; best {best:.3f} in epoch {at:g}"))
    if not charts:
        return None
    return element("section", element("h2", "Training"), element("div", charts, class_="charts"))


def _curve(series: Mapping[str, list[tuple[float, float]]], caption: str) -> Markup:
    [(name, points)] = series.items()
    told = f"{name}: {points[0][1]:.3f} in epoch {points[0][0]:g}, {points[-1][1]:.3f} in epoch {points[-1][0]:g}"
    return element("figure", curves(told, series, x="epoch"), element("figcaption", caption))


def _maps(found: Findings) -> Child:
    first = found.planes[0]
    what = (
        "Lines join some anchors with a positive match of theirs."
        if first.lines
        else "Colours and names are groups: contents that positive judgements connect."
    )
    told = (
        f"{count(len(first.points), 'content')}, drawn by chance from those that are anchors or judged, by the two principal "
        f"components of their embeddings. What is near on the map need not be near in all dimensions. {what}"
    )
    charts = [
        element("figure", scatter(_seen(one), one), _groups(one), _caption(one)) for one in found.planes
    ]
    return element(
        "section",
        element("h2", "Map of the embeddings"),
        element("p", told),
        element("div", charts, class_="charts"),
    )


def _seen(plane: Plane) -> str:
    return f"Map of {len(plane.points)} embeddings by {plane.encoder}, in {len(plane.groups)} groups"


def _groups(plane: Plane) -> Markup:
    sizes = [sum(group == number for _, _, group in plane.points) for number in range(len(plane.groups))]
    return element(
        "ul",
        [
            element("li", dot(colour(plane, number)), f"{name} ({sizes[number]})")
            for number, name in enumerate(plane.groups)
            if sizes[number]
        ],
        class_="legend",
    )


def _caption(plane: Plane) -> Markup:
    held = f", by components that hold {plane.explained:.0%} of the variance"
    return element("figcaption", element("b", plane.encoder), held)
