"""What becomes of a candidate, on the page: told as it was given, and not told where it was not."""

import html
import re
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from finetuner.reports import Report, report
from finetuner.reports.promotion import Promotion, promotion
from finetuner.reports.words import MINUS as M
from tests.two_classes import encoder, match_documents

GUARDS: dict[str, dict[str, Any]] = {
    "old <questions>": {
        "anchors": 40,
        "left_out": 3,
        "metrics": {"v0": {"map": 0.8125}, "v1": {"map": 0.75}},
        "gain": {"v0": [-0.0625, -0.09, -0.03]},
    },
    "empty": {"anchors": 0, "left_out": 0, "metrics": {}, "gain": {}},
}
RECALL = {"old->old": 0.9, "new->old": 0.125, "mapped->old": 0.875, "new->new": 0.95}
COMPATIBILITY: dict[str, dict[str, Any]] = {
    "v0": {
        "recall": RECALL,
        "lost": {"mapped->old": [-0.075, -0.1, -0.05]},
        "k": 10,
        "same_documents": False,
    },
    "v2": {"same_documents": True},
    "v3": {"same_documents": False, "reason": "8 contents are too few"},
}
LINE = {"event": "line", "share": 0.5, "scores": {"0": 0.25, "0.5": 0.75, "1": 0.5}}


@cache
def plain() -> Report:
    """Return a report of two versions that tells nothing of a promotion."""
    return report({"v0": encoder(1), "v1": encoder(0)}, match_documents(20))


def text(told: Promotion) -> str:
    """Return the text of the page that tells it, cells parted by bars."""
    whole = re.sub(r"</t[hd]>", " | ", replace(plain(), promotion=told).as_html())
    return html.unescape(re.sub(r"<[^>]*>", "", whole.split("</style>")[1]))


def test_a_page_without_a_promotion_has_no_such_section() -> None:
    """Nothing is said about a gate that was not asked."""
    assert "Promotion" not in text(Promotion())


@pytest.mark.parametrize(("promoted", "said"), [(True, "Promoted: so."), (False, "Not promoted: so.")])
def test_the_decision_comes_with_the_answer(promoted: bool, said: str) -> None:
    """It stands before all tables."""
    told = text(promotion({"promoted": promoted, "reason": "so"}, None, None, None))
    assert 0 < told.index(said) < told.index("Among judged matches")


def test_guards_are_told_with_their_intervals() -> None:
    """Means by encoder and the gain; where no anchor could be ranked there is none, and that is said."""
    told = text(promotion(None, None, GUARDS, None))
    assert f"old <questions> | 40 | 0.812 | 0.750 | {M}0.062{M}0.090 to {M}0.030 | " in told
    assert "empty | 0 | none | none | cannot be told | " in told
    assert "3 anchors that the run had seen are left out." in told


def test_the_share_of_the_way_is_told() -> None:
    """With what each share was worth for validation anchors."""
    told = text(promotion(None, LINE, None, None))
    assert "has gone 50% of the way" in told
    assert "share | 0% | 50% | 100% | MAP | 0.250 | 0.750 | 0.500 | " in told


def test_indexes_of_older_versions_are_told() -> None:
    """Recall by route with what is lost; of one that needs no map, or has none, the reason."""
    told = text(promotion(None, None, None, COMPATIBILITY))
    assert "index of | old→old | new→old | mapped→old | new→new | " in told
    assert f"v0 | 0.900 | 0.125 | 0.875{M}0.075 ({M}0.100 to {M}0.050) | 0.950 | " in told
    assert "Recall@10" in told
    assert "v2: documents stay as they are" in told
    assert "v3: no map. 8 contents are too few." in told


def test_a_route_that_cannot_be_asked_is_none() -> None:
    """Without a map, new queries cannot ask an index of another dimension."""
    recall = {route: value for route, value in RECALL.items() if route != "new->old"}
    told = text(promotion(None, None, None, {"v0": {"recall": recall}}))
    assert "v0 | 0.900 | none | 0.875 | 0.950 | " in told


def test_a_promotion_is_part_of_the_data() -> None:
    """Programs read what people read."""
    told = promotion({"promoted": True, "reason": "so"}, LINE, GUARDS, COMPATIBILITY)
    data = replace(plain(), promotion=told).as_dict()["promotion"]
    assert data["decision"] == {"promoted": True, "reason": "so"}
    assert data["share"]["scores"] == [[0, 0.25], [0.5, 0.75], [1, 0.5]]
    assert data["guards"][0]["gain"] == {"v0": [-0.0625, -0.09, -0.03]}
    assert data["indexes"][0]["recall"] == RECALL


def test_an_interval_without_numbers_is_none() -> None:
    """NaN, as of no anchor, has no place on a bar."""
    told = promotion(None, None, {"g": {"gain": {"v0": [float("nan")] * 3}}}, None)
    assert told.guards[0].gain == {}
