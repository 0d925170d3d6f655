"""Judged products of a shop, as people have them: from a CSV through a real Flow to a tuned encoder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.flow import RunningFlow, running_flow
from executors.client import FlowClient
from executors.files import import_file
from finetuner.store import FeedReport
from tests.integration.asking import stream

ROOT = Path(__file__).parents[2]
FILE = ROOT / "datasets" / "esci" / "us_150_queries.csv"
ROLES: dict[str, Any] = {"anchor": "query", "match_id": "asin", "match": "title", "label": "esci_label"}
LABELS = {"E": 1, "S": 0.5, "C": -0.5, "I": -1}

TEXTS = {"FINETUNER_ENCODER": "tests.bag_of_words:bag_of_words", "PYTHONPATH": str(ROOT)}
"""Settings for an encoder of texts on which a run takes a moment."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFlow]:
    """A Flow that tunes an encoder of texts."""
    with running_flow(tmp_path_factory.mktemp("esci"), free_ports=True, environment=TEXTS) as running:
        yield running


@pytest.fixture(scope="module")
def client(shop: RunningFlow) -> FlowClient:
    """A client of that Flow."""
    return shop.client


@pytest.fixture(scope="module")
def brought(client: FlowClient) -> FeedReport:
    """The report of bringing in the file."""
    return import_file(client, FILE, collection="shop", source="esci", labels=LABELS, **ROLES)


def test_all_rows_come_in(client: FlowClient, brought: FeedReport) -> None:
    """Each row is a judgement, each query an anchor; bringing the file in again changes nothing."""
    assert (brought.accepted, brought.refused, brought.contradicted) == (6678, 0, 0)
    again = import_file(client, FILE, collection="shop", source="esci", labels=LABELS, **ROLES)
    assert (again.accepted, again.known, again.contents) == (0, 6678, 0)
    [held] = [report.tags for report in client.post("/collections") if report.id == "shop"]
    assert (held["anchors"], held["judgements"], held["position"]) == (150, 6678, 1)


def test_grades_without_a_meaning_are_refused(client: FlowClient) -> None:
    """If nobody says what C means, its 305 rows are left out, and the first are told with their lines."""
    labels = {grade: label for grade, label in LABELS.items() if grade != "C"}
    report = import_file(client, FILE, collection="without-c", source="esci", labels=labels, **ROLES)
    assert (report.accepted, report.refused, len(report.refusals)) == (6678 - 305, 305, 20)
    line = 1 + next(number for number, row in enumerate(FILE.open(encoding="utf-8")) if row.endswith(",C\n"))
    assert report.refusals[0].place == f"{FILE}:{line}"
    assert "'C'" in report.refusals[0].reason


def test_lint_tells_what_is_in_it(client: FlowClient, brought: FeedReport) -> None:
    """The grades are counted, and products under several ids are found."""
    tags = client.post("/lint", collection="shop")[0].tags
    assert tags["counts"]["labels"] == {"1": 3389, "0.5": 1898, "-1": 1086, "-0.5": 305}
    assert {"duplicate_contents", "judged_both_ways"} <= {one["name"] for one in tags["findings"]}
    assert "150 anchors, 6,747 documents" in tags["table"]


def test_a_run_learns_from_it(client: FlowClient, brought: FeedReport) -> None:
    """It succeeds with an evaluation on anchors that it has not seen, and tells what it has learnt from."""
    options: dict[str, Any] = {"holdout": 0.3, "epochs": 1, "matches_per_anchor": 8, "promote": "never"}
    run = client.post("/fit", collection="shop", **options)[0].id
    events = {report.tags["event"]: report.tags for report in stream(client, "/progress", run=run)}
    assert list(events)[-1] == "succeeded"
    assert events["split"]["training"] + events["split"]["validation"] + events["split"]["holdout"] == 150
    assert events["evaluated"]["anchors"] > 20
    assert set(events["evaluated"]["metrics"]) == {"v0", "candidate"}
    assert events["data"]["parameters"] == {"kind": "text", "position": 1}
