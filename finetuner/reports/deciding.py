"""The part of the page about a promotion: the decision, guards, the share of the way, and indexes of older versions."""

from finetuner.reports.charts import interval, verdict
from finetuner.reports.findings import Findings
from finetuner.reports.markup import Child, Markup, element
from finetuner.reports.promotion import ROUTES, Bounds, Decision, Guard, Index, Share
from finetuner.reports.tables import ends_of, scrolled
from finetuner.reports.words import MINUS, count, metric_name, percent, signed
from finetuner.significance import Difference

UNDECIDED = element("p", class_="gate", id="gate")
"""Where the decision is told, as long as there is none."""

_ARROWS = str.maketrans({"-": "", ">": "\N{RIGHTWARDS ARROW}"})


def decided(decision: Decision | None) -> Markup:
    """Return the decision in a sentence."""
    if decision is None:
        return UNDECIDED
    what = "Promoted" if decision.promoted else "Not promoted"
    reason = decision.reason.replace(" %", "\N{NO-BREAK SPACE}%")
    return element("p", element("b", what), f": {reason}.", class_="gate", id="gate")


def deciding(found: Findings) -> Child:
    """Return the section; nothing if there is nothing to tell."""
    told = found.promotion
    parts: list[Child] = []
    if told.guards:
        parts.append(_guards(told.guards, found))
    if told.share is not None:
        parts.append(_share(told.share, found))
    if told.indexes:
        parts.append(_indexes(told.indexes))
    return element("section", element("h2", "Promotion"), parts) if parts else None


def _guards(guards: tuple[Guard, ...], found: Findings) -> Child:
    metric = found.metric
    ends = ends_of(_difference(one) for guard in guards for one in guard.gain.values())
    names = [name for name in found.encoders if any(name in guard.metrics for guard in guards)]
    rows = [
        element(
            "tr",
            element("th", guard.name, scope="row"),
            element("td", f"{guard.anchors:,}"),
            [element("td", _mean(guard, name, metric)) for name in names],
            [element("td", _gain(guard.gain.get(rival), ends), class_="against") for rival in found.rivals],
        )
        for guard in guards
    ]
    head = element(
        "tr",
        element("th", "guard", scope="col"),
        element("th", "anchors", scope="col"),
        [element("th", name, scope="col") for name in names],
        [
            element("th", f"{found.candidate} {MINUS} {name}", scope="col", class_="against")
            for name in found.rivals
        ],
    )
    left_out = sum(guard.left_out for guard in guards)
    seen = f" {count(left_out, 'anchor')} that the run had seen are left out." if left_out else ""
    caption = (
        f"{metric_name(metric)} on other collections, where the candidate should not be worse, with "
        f"{percent(found.confidence)} intervals.{seen}"
    )
    several = "several" if len(found.rivals) > 1 else None
    table = element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", rows),
        class_=several,
    )
    return [element("h3", "Guards"), scrolled(table, "Guards")]


def _mean(guard: Guard, name: str, metric: str) -> str:
    mean = guard.metrics.get(name, {}).get(metric)
    return "none" if mean is None else f"{mean:.3f}"


def _gain(gain: Bounds | None, ends: tuple[float, float]) -> Child:
    if gain is None:
        return "cannot be told"
    difference = _difference(gain)
    return element(
        "div",
        element("b", signed(difference.mean)),
        element("span", f"{signed(difference.low)} to {signed(difference.high)}"),
        interval(difference, ends),
        class_=f"difference unproven {verdict(difference)}",
    )


def _difference(bounds: Bounds) -> Difference:
    return Difference(*bounds, p=1.0)  # a guard is not asked for one, and none is shown


def _share(share: Share, found: Findings) -> Child:
    told = (
        f"The candidate has gone {share.share:.0%} of the way from the weights at the start to those after training, which "
        "validation anchors chose; the decision rests on others."
    )
    if len(share.scores) < 2:
        return [element("h3", "Share of the way"), element("p", told)]
    head = [element("th", f"{at:.0%}", scope="col") for at, _ in share.scores]
    cells = [
        element("td", f"{score:.3f}", class_="taken" if at == share.share else None)
        for at, score in share.scores
    ]
    table = element(
        "table",
        element("caption", f"{metric_name(found.metric)} of validation anchors by share of the way"),
        element("thead", element("tr", element("th", "share", scope="col"), head)),
        element("tbody", element("tr", element("th", metric_name(found.metric), scope="row"), cells)),
    )
    return [
        element("h3", "Share of the way"),
        element("p", told),
        scrolled(table, "Share of the way"),
    ]


def _indexes(indexes: tuple[Index, ...]) -> Child:
    measured = [one for one in indexes if one.recall]
    parts: list[Child] = [element("h3", "Indexes of older versions")]
    for one in indexes:
        if one.same_documents:
            parts.append(
                element(
                    "p", element("b", one.version), ": documents stay as they are, and so does its index."
                )
            )
        elif one.reason is not None:
            parts.append(element("p", element("b", one.version), f": no map. {one.reason}."))
    if not measured:
        return parts
    ks = {one.k for one in measured}
    k = f"@{ks.pop()}" if len(ks) == 1 and None not in ks else ""
    rows = [
        element(
            "tr",
            element("th", one.version, scope="row"),
            [element("td", _recall(one, route)) for route in ROUTES],
        )
        for one in measured
    ]
    head = element(
        "tr",
        element("th", "index of", scope="col"),
        [element("th", route.translate(_ARROWS), scope="col") for route in ROUTES],
    )
    caption = (
        f"Recall{k} of held-out queries: whose queries ask whose documents. mapped: the new version's queries, brought into "
        "the old space until the index is rebuilt. Below, how much more that is than new→new, with its 95\N{NO-BREAK SPACE}% "
        "interval."
    )
    table = element("table", element("caption", caption), element("thead", head), element("tbody", rows))
    return [*parts, scrolled(table, "Indexes of older versions")]


def _recall(index: Index, route: str) -> Child:
    if route not in index.recall:
        return "none"
    told = f"{index.recall[route]:.3f}"
    if route not in index.lost:
        return told
    mean, low, high = index.lost[route]
    return [told, element("span", f"{signed(mean)} ({signed(low)} to {signed(high)})", class_="lost")]
