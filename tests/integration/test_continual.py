"""Tuning that goes on, over a real Flow: guards, what is new, and runs that start by themselves."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from demo.flow import RunningFlow, running_flow
from executors.client import FlowClient
from finetuner.documents import Document
from finetuner.errors import OptionError, UnknownVersionError
from tests.integration.asking import feed, tune, wired
from tests.two_classes import SPEC, match_documents
from tests.waiting import until

POLL = 0.1

SETTINGS = {
    "FINETUNER_ENCODER_OPTIONS": json.dumps(SPEC.options),
    "FINETUNER_TUNE": json.dumps(
        {
            "collection": "auto",
            "min_new_judgements": 100,
            "poll_seconds": POLL,
            "options": {"epochs": 1, "promote": "always", "guards": ["golden"], "replay": 0.5},
        }
    ),
}


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFlow]:
    """A Flow that tunes by itself on the collection ``auto``."""
    folder = tmp_path_factory.mktemp("continual")
    with running_flow(folder, free_ports=True, environment=SETTINGS) as running:
        feed(running.client, "golden", *documents(20, "g"))
        yield running


@pytest.fixture(scope="module")
def client(flow: RunningFlow) -> FlowClient:
    """A client of that Flow."""
    return flow.client


def documents(count: int, name: str) -> list[Document]:
    """Return anchors with six judgements each, whose ids and contents are their own."""
    made = match_documents(count, seed=sum(map(ord, name)))
    for document in (one for anchor in made for one in (anchor, *anchor.matches)):
        document.id = f"{name}-{document.id}"
    return made


def fit(client: FlowClient, run: str, **options: Any) -> dict[str, Any]:
    """Return the summary of a run that was started, once it has ended."""
    tune(client, run=run, **{"epochs": 1, **options})
    found: dict[str, Any] = client.post("/runs", run=run)[0].tags
    return found


@pytest.fixture(scope="module")
def first(client: FlowClient) -> dict[str, Any]:
    """A run on all of the collection ``more``, whose version serves."""
    feed(client, "more", *documents(60, "old"))
    return fit(client, "first", collection="more", guards=["golden"], promote="always")


def begun(client: FlowClient, run: str) -> dict[str, Any]:
    """Return what the data of a run is, as soon as it has come; the run is cancelled."""
    until(lambda: "data" in client.post("/runs", run=run)[0].tags)
    data: dict[str, Any] = client.post("/cancel", run=run)[0].tags["data"]
    return data


# guards


def test_guards_are_pulled_and_told(client: FlowClient, first: dict[str, Any]) -> None:
    """The run tells which collections exactly it was judged on besides; they come with a collection, or beside documents."""
    client.post("/fit", wired(documents(20, "s")), guards=["golden"], run="sent")
    sent = begun(client, "sent")
    assert (first["data"]["collection"], sent["collection"]) == ("more", None)
    assert sent["guards"]["golden"]["position"] == 1
    assert first["data"]["guards"] == sent["guards"]
    with pytest.raises(OptionError, match="'sent' was started with other options"):
        client.post("/fit", wired(documents(20, "s")), run="sent")


def test_a_guard_that_cannot_be_pulled_fails_the_run(client: FlowClient) -> None:
    """Before it has trained, with its reason."""
    found = fit(client, "unguarded", collection="golden", guards=["golden", "nope"])
    assert found["state"] == "failed"
    assert "guard 'nope' cannot be pulled: there is no collection 'nope'" in found["reason"]
    assert "running" not in found


# what is new


def test_a_run_goes_on_with_what_is_new_and_a_sample_of_the_rest(
    client: FlowClient, first: dict[str, Any]
) -> None:
    """From the version that serves; after more was fed it learns from less than all, and is judged on all held out."""
    feed(client, "more", *documents(20, "new"))
    going_on = {"collection": "more", "parent": "active", "since": "active", "replay": 0.5}
    second = fit(client, "second", promote="always", **going_on)
    assert second["state"] == "succeeded", second
    data, split = second["data"], second["split"]
    assert (data["position"], data["since"]) == (2, {"position": 1, "version": first["version"]})
    assert data["new_anchors"] == 20
    learnt_new = split["training"] - data["replayed_anchors"]
    assert data["replayed_anchors"] == round(learnt_new * 0.5)
    held_out = first["split"]["validation"] + first["split"]["holdout"]
    assert data["held_out_anchors"] == held_out
    assert split["validation"] + split["holdout"] == held_out + 20 - learnt_new
    nothing = fit(client, "third", **going_on)
    assert nothing["state"] == "failed"
    assert "no anchor has new judgements since then" in nothing["reason"]


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"collection": "golden", "since": "v1"}, OptionError, "version 'v1' learnt from collection 'more'"),
        ({"collection": "golden", "since": "v99"}, UnknownVersionError, "v99"),
        ({"collection": "golden", "since": "active", "replay": -1}, OptionError, "'replay' is -1"),
        ({"since": "active"}, OptionError, "since goes with the name of a collection"),
    ],
)
@pytest.mark.usefixtures("first")
def test_since_what_cannot_be_known_is_told_at_once(
    client: FlowClient, asked: dict[str, Any], error: type[Exception], said: str
) -> None:
    """No run is made of it."""
    sent = None if "collection" in asked else wired(documents(20, "s"))
    before = len(client.post("/runs"))
    with pytest.raises(error, match=said):
        client.post("/fit", sent, **asked)
    assert len(client.post("/runs")) == before


def test_a_state_that_was_deleted_is_not_compared_with(client: FlowClient, first: dict[str, Any]) -> None:
    """What a version learnt from can no longer be read; a position is compared with what is left."""
    feed(client, "more", *documents(20, "newest"))
    last = client.post("/news", collection="more")[0].tags["position"]
    client.post("/delete", collection="more", ids=["old-d0"])
    found = fit(client, "deleted", collection="more", since=first["version"])
    assert found["state"] == "failed"
    assert f"position 1 is no longer what version '{first['version']}'" in found["reason"]
    client.post("/fit", collection="more", since=last - 1, run="left")
    assert begun(client, "left")["new_anchors"] == 20


# runs that start by themselves


def automatic(client: FlowClient) -> list[dict[str, Any]]:
    """Return the runs that started by themselves."""
    return [run.tags for run in client.post("/runs") if run.id.startswith("auto-")]


def ended(client: FlowClient, count: int) -> bool:
    """Return whether there are so many automatic runs, and all are through."""
    found = automatic(client)
    return len(found) >= count and all(run["state"] in ("succeeded", "failed") for run in found)


def test_a_run_starts_by_itself_once_enough_has_come(client: FlowClient) -> None:
    """Once: it is not started again for the same judgements. The next one goes on from it with what is new."""
    feed(client, "auto", *documents(10, "few"))  # 60 judgements
    feed(client, "auto", *documents(20, "many"))
    until(lambda: ended(client, 1), seconds=20)
    [first] = automatic(client)
    assert (first["run"], first["state"]) == ("auto-auto-2", "succeeded"), first
    assert first["data"]["position"] == 2
    assert "since" not in first["data"]
    assert list(first["data"]["guards"]) == ["golden"]
    feed(client, "auto", *documents(16, "less"))  # 96 judgements
    asked = client.post("/news", collection="auto", since=2)[0].tags
    assert asked == {"name": "auto", "position": 3, "new_judgements": 96}
    time.sleep(5 * POLL)  # it looks meanwhile
    assert len(automatic(client)) == 1
    one = documents(16, "last")[:1]
    feed(client, "auto", *one)
    until(lambda: ended(client, 2), seconds=20)
    second = automatic(client)[-1]
    assert (second["run"], second["state"]) == ("auto-auto-4", "succeeded"), second
    assert second["data"]["since"] == {"position": 2, "version": first["version"]}
    assert second["data"]["new_anchors"] == 17
