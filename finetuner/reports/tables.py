"""The tables of the page: metrics of encoders and their differences, over all anchors and by segment."""

from collections.abc import Iterable

from finetuner.reports.charts import interval, verdict
from finetuner.reports.findings import Findings, View
from finetuner.reports.markup import Child, Markup, element
from finetuner.reports.words import MINUS, metric_name, p_value, percent, signed
from finetuner.significance import Difference


def metric_table(view: View, found: Findings) -> Markup:
    """Return a row for each metric: its mean by encoder, and how the candidate differs."""
    rivals = found.rivals
    ends = ends_of(one for of in view.differences.values() for one in of.values())
    rows = [
        element(
            "tr",
            element("th", metric_name(metric), scope="row"),
            [element("td", f"{view.metrics[name][metric]:.3f}") for name in found.encoders],
            [_difference(view.differences[rival][metric], ends) for rival in rivals],
            class_="decides" if metric == found.metric else None,
        )
        for metric in view.metrics[found.candidate]
    ]
    caption = (
        "Means over the anchors, 0 to 1, higher is better"
        + (
            f"; and differences with their {percent(found.confidence)} intervals and p-values"
            if rivals
            else ""
        )
        + (f". {metric_name(found.metric)} decides." if view is found.views[0] else ".")
    )
    return _table(caption, [element("th", "metric", scope="col")], rows, found, "Metrics")


def segment_table(view: View, found: Findings) -> Child:
    """Return a row for each segment: the metric that decides by encoder, and how the candidate differs."""
    ends = ends_of(one for segment in view.segments for one in segment.differences.values())
    rows = [
        element(
            "tr",
            element("th", segment.name, scope="row"),
            element("td", f"{segment.anchors:,}"),
            [element("td", f"{segment.metrics[name][found.metric]:.3f}") for name in found.encoders],
            [_difference(segment.differences[rival], ends) for rival in found.rivals],
        )
        for segment in view.segments
    ]
    told = [f"{metric_name(found.metric)} by segment, the largest first."]
    if view.segments_left_out:
        told.append(f"{view.segments_left_out:,} smaller segments are not shown.")
    if view.unnamed:
        told.append(f"{view.unnamed:,} of the anchors are in no segment.")
    if view.differences:
        by_chance = percent(round(1 - found.confidence, 6))
        told.append(f"Of many segments {by_chance} are clearly better or worse by chance alone.")
    head = [element("th", "segment", scope="col"), element("th", "anchors", scope="col")]
    return [element("h3", "By segment"), _table(" ".join(told), head, rows, found, "Segments")]


def _table(caption: str, first: list[Markup], rows: list[Markup], found: Findings, about: str) -> Markup:
    names = [element("th", name, scope="col") for name in found.encoders]
    differences = [
        element("th", f"{found.candidate} {MINUS} {name}", scope="col", class_="against")
        for name in found.rivals
    ]
    head = element("thead", element("tr", first, names, differences))
    # several differences side by side are each narrow and high
    several = "several" if len(differences) > 1 else None
    table = element("table", element("caption", caption), head, element("tbody", rows), class_=several)
    return scrolled(table, about)


def scrolled(table: Markup, about: str) -> Markup:
    """Return a table that scrolls by itself where the page is narrow; what scrolls can be reached with the keyboard."""
    return element("div", table, class_="scroll", tabindex=0, role="region", aria_label=about)


def _difference(difference: Difference, ends: tuple[float, float]) -> Markup:
    told = element(
        "div",
        element("b", signed(difference.mean)),
        element("span", f"{signed(difference.low)} to {signed(difference.high)}"),
        element("span", p_value(difference.p)),
        interval(difference, ends),
        class_=f"difference {verdict(difference)}",
    )
    return element("td", told, class_="against")


def ends_of(differences: Iterable[Difference]) -> tuple[float, float]:
    """Return which differences are at the ends of the bars of a table."""
    intervals = list(differences)
    low, high = min([0.0, *(one.low for one in intervals)]), max([0.0, *(one.high for one in intervals)])
    return (low, high) if low < high else (-1.0, 1.0)
