"""Charts as SVG in the page: curves, intervals, shares and maps. They need no script, and print as they are seen."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from finetuner.reports.findings import OTHERS, Plane, Tally
from finetuner.reports.markup import Markup, element, joined
from finetuner.significance import Difference

Points = Sequence[tuple[float, float]]

STROKES = (
    ("#0b5cad", None),
    ("#b3541e", "7 4"),
    ("#4a4a4a", "2 3"),
    ("#7a3e9d", "8 3 2 3"),
    ("#2e7d4f", "12 4"),
)
"""Colour and dashes of a line; the first are the candidate's. What is in colour is told without it too."""

_COLOURS = (
    "#1f5fa8", "#c8641e", "#2e7d4f", "#8e3b8a", "#b02a30", "#7d6a00",
    "#00838a", "#cf5f98", "#5b5b9a", "#7a4a2b", "#4f9a1f", "#c79a00",
)  # fmt: skip
_GREY = "#b5b5b5"
_MAP, _LINE = 400, 14  # the edge of a map, the height of a name in it
_WIDTH, _HEIGHT = 400, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 10, 40
_ROUND = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def curves(told: str, series: Mapping[str, Points], *, x: str, logarithmic: bool = False) -> Markup:
    """Return a chart of lines, drawn in the order of :data:`STROKES` from the last one to the first.

    Args:
        told: What is to be seen, for those who do not see it.
        series: By name, (x, y) of each point, finite, at least one.
        x: What the horizontal axis is.
        logarithmic: Whether that axis is.
    """
    xs = [float(at) for points in series.values() for at, _ in points]
    ys = [y for points in series.values() for _, y in points]
    across = (lambda value: math.log(value)) if logarithmic else (lambda value: value)
    ticks_x = [tick for tick in _ROUND if min(xs) <= tick <= max(xs)] if logarithmic else _whole(xs)
    ticks_y = _ticks(min(ys), max(ys))
    left, right = across(min(xs)), across(max(xs))
    low, high = min(ticks_y[0], *ys), max(ticks_y[-1], *ys)

    def place_x(value: float) -> float:
        share = (across(value) - left) / (right - left) if right > left else 0.5
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def place_y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    lines = [
        _line([(place_x(at), place_y(y)) for at, y in points], number)
        for number, points in reversed(list(enumerate(reversed(list(series.values())))))
    ]
    marks = [(place_y(tick), f"{tick:g}") for tick in ticks_y]
    grid = [element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=at, y2=at, stroke="#e2e2e2") for at, _ in marks]
    sides = [element("text", text, x=_LEFT - 6, y=at + 4, text_anchor="end") for at, text in marks]
    below = [
        element("text", f"{tick:g}", x=place_x(tick), y=_HEIGHT - _BOTTOM + 17, text_anchor="middle")
        for tick in ticks_x
    ]
    axis = element("text", x, x=(_LEFT + _WIDTH - _RIGHT) / 2, y=_HEIGHT - 5, text_anchor="middle")
    return _image(told, _WIDTH, _HEIGHT, [grid, sides, below, axis, lines])


def interval(difference: Difference, ends: tuple[float, float]) -> Markup:
    """Return an interval as a bar beside the line of no difference.

    Args:
        difference: Whose interval it is.
        ends: Which differences are at the left and at the right end, with 0 and all intervals of the column in between.
    """

    def place(value: float) -> float:
        return 5 + 130 * (value - ends[0]) / (ends[1] - ends[0])

    colour = {"better": "#0b5cad", "worse": "#a3261f"}.get(verdict(difference), "#6a6a6a")
    low, high = place(difference.low), place(difference.high)
    shapes = [
        element("line", x1=place(0), x2=place(0), y1=0, y2=16, stroke="#9a9a9a"),
        element("line", x1=low, x2=high, y1=8, y2=8, stroke=colour, stroke_width=3),
        element("circle", cx=place(difference.mean), cy=8, r=4, fill=colour),
    ]
    return element("svg", shapes, viewBox="0 0 140 16", class_="interval", aria_hidden="true")


def verdict(difference: Difference) -> str:
    """Return what an interval says: ``better`` if it lies above 0, ``worse`` if below it, else ``unclear``."""
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "unclear"


def shares(tally: Tally) -> Markup:
    """Return how many queries were won, were level, and were lost, as parts of a bar; it is told in words elsewhere."""
    total = tally.won + tally.level + tally.lost
    parts, at = [], 0.0
    for count, colour in ((tally.won, "#0b5cad"), (tally.level, "#d5d5d5"), (tally.lost, "#a3261f")):
        width = 400 * count / total
        parts.append(element("rect", x=at, y=0, width=width, height=14, fill=colour))
        at += width
    return element(
        "svg", parts, viewBox="0 0 400 14", class_="shares", aria_hidden="true", preserveAspectRatio="none"
    )


def scatter(told: str, plane: Plane) -> Markup:
    """Return a map of embeddings; groups have their names in it, unless lines join the points."""
    size, edge = _MAP, 14
    xs, ys = [x for x, _, _ in plane.points], [y for _, y, _ in plane.points]
    reach = (
        max(max(xs) - min(xs), max(ys) - min(ys)) or 1.0
    )  # one scale for both axes: a map does not stretch
    scale = (size - 2 * edge) / reach

    def place(x: float, y: float) -> tuple[float, float]:
        across = size / 2 + scale * (x - (max(xs) + min(xs)) / 2)
        return round(across, 1), round(size / 2 - scale * (y - (max(ys) + min(ys)) / 2), 1)

    placed = [place(x, y) for x, y, _ in plane.points]
    members: dict[int, list[tuple[float, float]]] = {}
    for at, (_, _, group) in zip(placed, plane.points, strict=True):
        members.setdefault(group, []).append(at)
    joins = "".join("M{} {}L{} {}".format(*placed[one], *placed[other]) for one, other in plane.lines)
    dots = [
        element("path", d=_dots(of), stroke=colour(plane, group), class_="dots")
        for group, of in sorted(members.items(), reverse=True)
    ]
    names = [] if plane.lines else _names(plane, members)
    return _image(
        told, size, size, [element("path", d=joins, class_="joins") if joins else None, dots, names]
    )


def colour(plane: Plane, group: int) -> str:
    """Return the colour of a group on a map; the last of several classes holds what is in none, and is grey."""
    return _GREY if plane.groups[group] == OTHERS else _COLOURS[group % len(_COLOURS)]


def swatch(stroke: str, dashes: str | None = None, *, width: float = 3) -> Markup:
    """Return a short line as a legend shows it."""
    line = element(
        "line", x1=1, x2=27, y1=6, y2=6, stroke=stroke, stroke_width=width, stroke_dasharray=dashes
    )
    return element("svg", line, viewBox="0 0 28 12", class_="swatch", aria_hidden="true")


def dot(fill: str) -> Markup:
    """Return a dot as a legend shows it."""
    circle = element("circle", cx=6, cy=6, r=5, fill=fill)
    return element("svg", circle, viewBox="0 0 12 12", class_="dot", aria_hidden="true")


def _line(points: Points, number: int) -> Markup:
    stroke, dashes = STROKES[number % len(STROKES)]
    way = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    line = element(
        "path", d=way, fill="none", stroke=stroke, stroke_width=2 if number else 2.6, stroke_dasharray=dashes
    )
    few = points if len(points) <= 30 else points[-1:]
    return joined([line, [element("circle", cx=x, cy=y, r=2.6, fill=stroke) for x, y in few]])


def _names(plane: Plane, members: Mapping[int, Points]) -> list[Markup]:
    """Return the names of groups in their middles, or below, where another one is there."""
    middles = sorted(
        (median(y for _, y in of) + 4, median(x for x, _ in of), plane.groups[group])
        for group, of in members.items()
        if plane.groups[group] != OTHERS
    )
    taken: list[tuple[float, float, float]] = []
    texts = []
    for y, x, name in middles:
        half = 3.8 * len(name)
        centre = min(max(x, half), _MAP - half)
        for top, left, right in sorted(taken):
            if abs(top - y) < _LINE and centre - half < right and centre + half > left:
                y = top + _LINE
        taken.append((y, centre - half, centre + half))
        texts.append(element("text", name, x=centre, y=y, text_anchor="middle", class_="name"))
    return texts


def _dots(points: Points) -> str:
    """Return a path of lines without length, which are drawn as dots: a tenth of the bytes of so many circles."""
    return "".join(f"M{x:g} {y:g}h0" for x, y in points)


def _image(
    told: str, width: int, height: int, shapes: Iterable[Markup | Iterable[Markup | None] | None]
) -> Markup:
    return element(
        "svg", [element("title", told), *shapes], viewBox=f"0 0 {width} {height}", role="img", class_="chart"
    )


def _ticks(low: float, high: float) -> list[float]:
    """Return three to seven round numbers from the last one at or below ``low`` to the last one at or below ``high``."""
    spread = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(spread))
    step = next(power * one for one in (0.2, 0.5, 1.0, 2.0) if spread / (power * one) <= 5)
    first = math.floor(low / step + 1e-9)
    last = max(first + 1, math.floor(high / step + 1e-9))
    return [round(step * at, 12) for at in range(first, last + 1)]


def _whole(values: Sequence[float]) -> list[float]:
    return [
        tick
        for tick in _ticks(min(values), max(values))
        if tick == int(tick) and min(values) <= tick <= max(values)
    ]
