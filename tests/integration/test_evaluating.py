"""Evaluations and reports of runs, asked as a client asks them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo.flow import RunningFlow
from executors.client import FlowClient
from executors.documents import Report
from finetuner.documents import Document
from finetuner.errors import MatchDataError, OptionError, TrainingError, UnknownRunError, UnknownVersionError
from finetuner.features import FeatureCache
from finetuner.matches import MatchSet
from finetuner.reports import of_run
from tests.integration.asking import feed, stream, tune, wired
from tests.two_classes import encoder, match_documents


def tagged() -> list[Document]:
    """Return anchors of two classes, of which all but the first five tell theirs by a number."""
    documents = match_documents(40, seed=3)
    for at, document in enumerate(documents[5:], 5):
        document.tags = {"class": at % 2, "title": f"anchor {at}"}
    return documents


@pytest.fixture(scope="module")
def collection(client: FlowClient) -> str:
    """Return the name of a collection of such anchors."""
    feed(client, "tagged", *tagged())
    return "tagged"


@pytest.fixture(scope="module")
def other(client: FlowClient, two: str) -> str:
    """Return the name of another version that is not the base."""
    return str(tune(client, collection=two, promote="never", epochs=1, seed=5)["version"])


def evaluate(client: FlowClient, **parameters: Any) -> dict[str, Any]:
    """Return what an evaluation tells."""
    [report] = client.post("/evaluate", **parameters)
    tags: dict[str, Any] = report.tags
    return tags


def test_versions_stand_side_by_side(client: FlowClient, collection: str, tuned: str, other: str) -> None:
    """The one that is judged comes last, and is held against each of the others, named or not."""
    told = evaluate(client, collection=collection, version=tuned, versions=[other, "base"])
    assert told["encoders"] == ["v0", other, tuned]
    assert set(told["metrics"]) == {"v0", other, tuned}
    assert set(told["gain"]) == set(told["views"][0]["differences"]) == {"v0", other}
    assert 0 < told["views"][0]["differences"][other]["map"]["p"] <= 1
    assert told["gain"]["v0"][0] == pytest.approx(
        told["metrics"][tuned]["map"] - told["metrics"]["v0"]["map"]
    )


def test_metrics_are_cut_where_the_request_says(client: FlowClient, collection: str) -> None:
    """And nowhere else."""
    told = evaluate(client, collection=collection, ks=[2, 4])
    cut = {name for name in told["metrics"]["v0"] if "@" in name} - {"map@r"}
    assert cut == {f"{metric}@{k}" for metric in ("hit", "recall", "ndcg") for k in (2, 4)}


def test_what_is_unjudged_is_handled_as_the_request_says(client: FlowClient, collection: str) -> None:
    """Left out, or counted as irrelevant; by default the first decides here. Its share is told each time."""
    auto, judged, corpus = (
        evaluate(client, collection=collection, over=over) for over in ("auto", "judged", "corpus")
    )
    assert [[view["over"] for view in told["views"]] for told in (auto, judged, corpus)] == [
        ["judged", "corpus"],
        ["judged"],
        ["corpus"],
    ]
    assert auto["metrics"] == judged["metrics"] != corpus["metrics"]
    shares = [told["views"][-1]["unjudged"]["v0"] for told in (auto, judged, corpus)]
    assert len(set(shares)) == 1
    assert 0.4 < shares[0] < 1  # 6 of 39 others are judged


@pytest.mark.parametrize("fed", [True, False], ids=["collection", "documents"])
def test_figures_are_told_by_segment(client: FlowClient, collection: str, fed: bool) -> None:
    """By a tag of the anchors, whether they are fed or come with the request."""
    data = {"collection": collection} if fed else {"documents": wired(tagged())}
    told = evaluate(client, **data, segment="class")
    view = told["views"][0]
    assert sorted((one["name"], one["anchors"]) for one in view["segments"]) == [("0", 17), ("1", 18)]
    assert view["unnamed"] == 5


def test_the_snapshot_says_what_was_judged(client: FlowClient, collection: str) -> None:
    """With it the same is emitted again; a split of the collection is part of it."""
    told = evaluate(client, collection=collection, emit={"split": "holdout", "holdout": 0.5})
    assert told["snapshot"]["collection"] == collection
    assert told["snapshot"]["parameters"]["split"] == "holdout"
    assert 5 < told["anchors"] < 35


def test_queries_won_and_lost_are_told_with_examples(client: FlowClient, collection: str, tuned: str) -> None:
    """What was ranked for some of them, before and after, and how many there are."""
    told = evaluate(client, collection=collection, version=tuned)
    tally = told["views"][0]["tallies"]["v0"]
    assert tally["won"] + tally["lost"] + tally["level"] == 40
    example = told["examples"][0]
    assert example["chosen"] == "won"
    assert example["before"]["score"] < example["after"]["score"]
    assert len(example["after"]["top"]) == 6


def test_the_page_comes_if_it_is_asked_for(client: FlowClient, collection: str, tmp_path: Path) -> None:
    """One file that needs no network; without the parameter the answer is data alone."""
    assert "html" not in evaluate(client, collection=collection)
    page = evaluate(client, collection=collection, html=True, segment="class")["html"]
    assert "<title>Version v0 on tagged</title>" in page
    assert "By segment" in page
    assert re.findall(r"""(?:src|href)=["'](?!data:)""", page) == []
    (tmp_path / "report.html").write_text(page, encoding="utf-8")


@pytest.mark.parametrize(
    ("parameters", "error", "said"),
    [
        ({"segment": "colour"}, OptionError, "none of the 40 anchors .* tags that they have: class, title"),
        ({"ks": [1.5]}, OptionError, "1.5 is not a whole number"),
        ({"over": "all"}, OptionError, "'over' is 'all'"),
        ({"versions": ["v99"]}, UnknownVersionError, "'v99'"),
    ],
)
def test_what_cannot_be_told_is_refused(
    client: FlowClient, collection: str, parameters: dict[str, Any], error: type[Exception], said: str
) -> None:
    """Each as a typed error that names what is wrong."""
    with pytest.raises(error, match=said):
        evaluate(client, collection=collection, **parameters)


def test_match_data_without_a_positive_is_refused(client: FlowClient) -> None:
    """There is nothing to rank for."""
    documents = match_documents(10, label=lambda same: -1)
    with pytest.raises(MatchDataError, match="none of the 10 anchors has a match that is labelled above 0"):
        client.post("/evaluate", wired(documents))


def test_a_runs_report_is_answered(client: FlowClient, flow: RunningFlow, two: str, tmp_path: Path) -> None:
    """As data and as a page, with what the gate decided after it was written."""
    run = client.post("/fit", collection=two, promote="never", epochs=1)[0].id
    ended = stream(client, "/progress", Report, run=run)[-1].tags
    holdout = MatchSet.from_documents(match_documents(20)).only(np.arange(10))
    [folder] = flow.log.parent.glob(f"**/runs/{run}")
    cache = FeatureCache(tmp_path, most_bytes=2**20)
    of_run({"v0": encoder(1), "candidate": encoder(0)}, holdout, folder, events=[], cache=cache, seed=0)
    [report] = client.post("/report", run=run)
    assert (report.id, report.tags["title"]) == (run, f"Run {run}")
    assert report.tags["promotion"]["decision"] == {"promoted": False, "reason": ended["reason"]}
    assert "<b>Not promoted</b>: the run was told never to promote" in report.tags["html"]


def test_a_run_without_a_report_is_told(client: FlowClient) -> None:
    """One that has failed has nothing to report; and there is no such run."""
    run = client.post("/fit", collection="nope")[0].id
    stream(client, "/progress", Report, run=run)
    with pytest.raises(TrainingError, match=f"run '{run}' has no report"):
        client.post("/report", run=run)
    with pytest.raises(UnknownRunError, match="no run 'nope'"):
        client.post("/report", run="nope")
