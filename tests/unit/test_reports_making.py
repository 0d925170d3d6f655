"""A report: its figures are those of the metrics, its examples agree with them, and the same call tells the same."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import finetuner
from finetuner.contents import Contents
from finetuner.documents import Document, labelled
from finetuner.errors import EncoderError, MatchDataError, OptionError
from finetuner.evaluation import by_judgements
from finetuner.features import FeatureCache
from finetuner.matches import MatchSet
from finetuner.models import Embeddings, Encoder
from finetuner.models.heads import HeadSpec
from finetuner.reports import Report, measuring, report
from finetuner.reports.embedded import embedded
from tests.two_classes import encoder, match_documents, points


@pytest.fixture(scope="module")
def data() -> MatchSet:
    """Return 60 anchors with three matches of each kind."""
    return MatchSet.from_documents(match_documents(60))


@pytest.fixture(scope="module")
def encoders() -> Mapping[str, Encoder]:
    """Return three encoders; the first and the last are the same."""
    return {"first": encoder(0), "rival": encoder(1), "last": encoder(0)}


@pytest.fixture(scope="module")
def found(data: MatchSet, encoders: Mapping[str, Encoder]) -> Report:
    """Return a report, with segments by the parity of anchors and the events of a training."""
    segments = {f"d{at}": "odd" if at % 2 else "even" for at in range(50)}
    events: list[dict[str, Any]] = [
        {"event": "split", "training": 3},
        {"event": "epoch", "epoch": 2, "loss": 0.5, "validation_map": None},
        {"event": "epoch", "epoch": 1, "loss": 2.0, "validation_map": 0.25},
        {"event": "epoch", "epoch": 1, "loss": float("nan"), "validation_map": 0.5},
    ]
    return report(encoders, data, ks=(1, 3), segments=segments, events=events)


def test_the_view_that_decides_tells_what_a_comparison_tells(
    data: MatchSet, encoders: Mapping[str, Encoder]
) -> None:
    """Means, gains and intervals are those on which the gate decides."""
    found = report(encoders, data)
    expected = finetuner.evaluate(encoders, data)
    view = found.views[0]
    assert (view.over, view.anchors) == (found.over, expected["anchors"]) == ("judged", 60)
    for name, means in expected["metrics"].items():
        assert view.metrics[name] == pytest.approx(means)
    for name, gain in expected["gain"].items():
        told = view.differences[name]["map"]
        assert [told.mean, told.low, told.high] == pytest.approx(gain, abs=1e-12)


def test_both_ways_to_handle_the_unjudged_stand_side_by_side(
    found: Report, data: MatchSet, encoders: Mapping[str, Encoder]
) -> None:
    """Condensed and strict figures are each those of the metrics over what is ranked there."""
    assert [view.over for view in found.views] == ["judged", "corpus"]
    embeddings = encoders["rival"].embed(data.contents)
    for view in found.views:
        expected = by_judgements(embeddings, data, over=view.over, ks=(1, 3)).mean()
        assert view.metrics["rival"] == pytest.approx(expected)
        assert (view.anchors, view.excluded) == (60, 0)


def test_positives_alone_are_ranked_in_the_corpus_only() -> None:
    """Where no anchor has a negative, a condensed list says nothing, and there is none."""
    documents = match_documents(30, label=lambda same: 1 if same else None)
    found = report(encoder(), documents)
    assert [view.over for view in found.views] == [found.over] == ["corpus"]


def test_anchors_without_a_negative_are_not_asked_about_their_judged_matches() -> None:
    """They would be right whatever the encoder; in the corpus they count."""
    documents = match_documents(30)
    for document in documents[:10]:
        document.matches = document.matches[:3]
    found = report({"a": encoder(1), "b": encoder(0)}, documents)
    assert [(view.over, view.anchors, view.excluded) for view in found.views] == [
        ("judged", 20, 10),
        ("corpus", 30, 0),
    ]


def test_a_label_of_0_judges_nothing(encoders: Mapping[str, Encoder]) -> None:
    """It is as if nobody had judged, as it is in a training."""
    zeros = match_documents(20, label=lambda same: 1 if same else 0)
    unjudged = match_documents(20, label=lambda same: 1 if same else None)
    assert report(encoders, zeros).as_dict() == report(encoders, unjudged).as_dict()


def test_examples_agree_with_the_metrics(found: Report) -> None:
    """What gained was above before, distances ascend, and the first positive is where it is shown."""
    assert {one.chosen for one in found.examples} == {"won", "lost", "drawn"}
    for one in found.examples:
        assert one.before is not None
        change = one.after.score - one.before.score
        assert {"won": change > 0, "lost": change < 0, "drawn": True}[one.chosen]
        for ranking in (one.before, one.after):
            distances = [place.distance for place in ranking.top]
            assert distances == sorted(distances)
            positive = [at for at, place in enumerate(ranking.top, 1) if (place.label or 0) > 0]
            assert positive[:1] == [ranking.first_positive]


def test_examples_rank_ties_as_the_metrics_do() -> None:
    """Where all is at one distance the positive comes last, in the corpus as among what is judged."""
    flat = finetuner.build_encoder(finetuner.EncoderSpec("tests.two_classes:scaled"))
    labels = [1.0, -1.0, -1.0]
    blobs = [np.array([at + 2, 0], np.float32) for at in range(3)]  # all in one direction
    matches = [
        Document(id=f"m{at}", blob=blobs[at], tags=labelled({}, label)) for at, label in enumerate(labels)
    ]
    unjudged = [matches[0], *(Document(id=one.id, blob=one.blob) for one in matches[1:])]
    for candidates, over in ((matches, "judged"), (unjudged, "corpus")):
        anchor = Document(id="q", blob=np.array([1, 0], np.float32), matches=candidates)
        found = report(flat, [anchor])
        [example] = found.examples
        assert (found.over, example.after.first_positive) == (over, 3)
        assert [place.content.id for place in example.after.top][-1] == "m0"
        assert found.views[0].metrics["encoder"]["mrr"] == 1 / 3


def test_every_query_is_won_lost_or_level(found: Report) -> None:
    """Against an encoder that is the same all are level; against another one they add up."""
    for view in found.views:
        assert (view.tallies["first"].won, view.tallies["first"].lost) == (0, 0)
        tally = view.tallies["rival"]
        assert tally.won + tally.level + tally.lost == view.anchors
        assert min(tally.won, tally.lost) > 0


def test_a_segment_tells_what_its_anchors_alone_would(
    found: Report, data: MatchSet, encoders: Mapping[str, Encoder]
) -> None:
    """Means and intervals are those of a report about them only; anchors in no segment are counted."""
    view = found.views[0]
    assert [(one.name, one.anchors) for one in view.segments] == [("even", 25), ("odd", 25)]
    assert (view.unnamed, view.segments_left_out) == (10, 0)
    odd = [at for at, row in enumerate(data.anchors) if int(data.ids[row][1:]) in range(1, 50, 2)]
    alone = report(encoders, data.only(np.array(odd)), ks=(1, 3)).views[0]
    assert view.segments[1].metrics == alone.metrics
    assert view.segments[1].differences == {name: of["map"] for name, of in alone.differences.items()}


def test_only_the_largest_segments_are_told(monkeypatch: pytest.MonkeyPatch, data: MatchSet) -> None:
    """A segment for each anchor does not make a page without end."""
    monkeypatch.setattr(measuring, "SEGMENTS", 3)
    segments = {name: "large" if at < 5 else name for at, name in enumerate(data.ids)}
    view = report(encoder(), data, segments=segments).views[0]
    assert [one.anchors for one in view.segments] == [5, 1, 1]
    assert view.segments_left_out == 60 - 5 - 2


def test_recall_is_told_at_more_ranks_than_were_asked_for(found: Report) -> None:
    """It begins at 1, does not fall, and is 1 where a list ends."""
    curve = found.views[0].recall["last"]
    ks, values = zip(*curve, strict=True)
    assert ks == (1, 2, 3, 5, 6)
    assert list(values) == sorted(values)
    assert values[-1] == 1


def test_the_share_of_what_nobody_judged_is_told() -> None:
    """An anchor with 3 judged matches among the 10 others: 7 of 10 places are unjudged."""
    documents = match_documents(11, label=lambda same: 1 if same else None)
    found = report(encoder(), documents)
    assert found.views[0].unjudged["encoder"] == pytest.approx(0.7)


def test_where_there_are_fewer_places_no_more_are_counted() -> None:
    """Three anchors with one positive each among three others: two of three places are unjudged, whoever asks first."""
    blobs = points(4)
    pairs = [(0, 1), (1, 3), (2, 3)]
    documents = [
        Document(blob=blobs[one], matches=[Document(blob=blobs[other], tags=labelled({}, 1))])
        for one, other in pairs
    ]
    assert report(encoder(), documents).views[0].unjudged["encoder"] == pytest.approx(2 / 3)


def test_a_query_asks_with_its_own_embedding(data: MatchSet) -> None:
    """An encoder whose head is for queries alone ranks documents by what they are without it."""
    with_head = encoder(0)
    with_head.heads.append(HeadSpec("adapter", 4, 4, queries_only=True))
    for parameter in with_head.heads.parameters():
        parameter.data.normal_(generator=torch.Generator().manual_seed(0))
    found = report({"base": encoder(0), "tuned": with_head}, data)
    documents = with_head.embed(data.contents)
    queries = with_head.embed(data.take(data.anchors), side="query")
    assert not np.allclose(documents[data.anchors], queries)
    for view in found.views:
        expected = by_judgements(documents, data, over=view.over, queries=queries).mean()
        assert view.metrics["tuned"] == pytest.approx(expected)


def test_epochs_come_in_order_and_the_last_report_of_one_counts(found: Report) -> None:
    """Other events are passed over, and a loss that is no number is none."""
    told = [(one.epoch, one.loss, one.validation_map) for one in found.epochs]
    assert told == [(1, None, 0.5), (2, 0.5, None)]


def test_one_encoder_is_reported_alone(data: MatchSet) -> None:
    """There is nothing to hold it against; some queries are shown."""
    found = report(encoder(), data)
    assert (found.encoders, found.rival, found.views[0].differences) == (("encoder",), None, {})
    assert {one.chosen for one in found.examples} == {"drawn"}
    assert {one.before for one in found.examples} == {None}
    assert "None" not in found.as_html()


def test_the_same_call_tells_the_same(data: MatchSet) -> None:
    """Data and page are the same to the last character; another seed draws others."""
    two, some = {"a": encoder(0), "b": encoder(1)}, data.only(np.arange(20))
    first, again, other = (report(two, some, seed=seed) for seed in (3, 3, 4))
    assert (first.as_dict(), first.as_html()) == (again.as_dict(), again.as_html())
    assert first.views[0].differences != other.views[0].differences


def test_a_report_is_data_that_json_can_hold(found: Report, tmp_path: Path) -> None:
    """Both files are there, and the data comes back as it was."""
    found.save(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json"]
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == found.as_dict()
    assert (folder / "report.html").read_text(encoding="utf-8") == found.as_html()


def test_a_report_of_part_of_a_match_set_ranks_the_whole_corpus(data: MatchSet) -> None:
    """The corpus of a split is that of all: else a smaller part would be easier."""
    part = report(encoder(), data.only(np.arange(10)))
    assert (part.data.anchors, part.data.contents) == (10, len(data.ids))


def test_modules_see_each_content_once(
    data: MatchSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Encoders with the same module share what it makes, and a cache that is given keeps it for the next time."""
    seen: list[int] = []
    whole = Encoder.embed_vectors

    def counted(self: Encoder, contents: Contents) -> Embeddings:
        seen.append(len(contents))
        return whole(self, contents)

    monkeypatch.setattr(Encoder, "embed_vectors", counted)
    cache = FeatureCache(tmp_path, most_bytes=2**30)
    report({"a": encoder(0), "b": encoder(0)}, data, cache=cache)
    assert sum(seen) == len(data.ids)
    report({"a": encoder(0)}, data, cache=cache)
    assert sum(seen) == len(data.ids)


def test_embeddings_are_on_disk(data: MatchSet, tmp_path: Path) -> None:
    """What grows with the contents is memory-mapped, and no file of it stays."""
    made = embedded(encoder(), data, FeatureCache(tmp_path, most_bytes=2**30))
    assert isinstance(made.documents, np.memmap)
    np.testing.assert_allclose(made.documents, encoder().embed(data.contents), atol=1e-6)
    assert made.queries is None


def test_nothing_to_rank_for_is_refused() -> None:
    """A report of metrics over no query would be a page of nothing."""
    documents = match_documents(20, label=lambda same: -1)
    with pytest.raises(MatchDataError, match="none of the 20 anchors has a match that is labelled above 0"):
        report(encoder(), documents)


def test_no_encoder_is_refused(data: MatchSet) -> None:
    """An empty mapping has no candidate."""
    with pytest.raises(OptionError, match="no encoder was given"):
        report({}, data)


def test_an_encoder_of_another_kind_is_refused() -> None:
    """Texts are nothing for a network of arrays."""
    texts = MatchSet.from_documents(
        [Document(id="q", text="a", matches=[Document(id="m", text="b", tags=labelled({}, 1))])]
    )
    with pytest.raises(EncoderError, match=r"takes \.blob contents"):
        report(encoder(), texts)


def test_one_way_to_handle_the_unjudged_may_be_asked_for_alone(
    data: MatchSet, encoders: Mapping[str, Encoder]
) -> None:
    """It decides then, with the figures that it has beside the other, and the share of what is unjudged is told."""
    both = report(encoders, data)
    for view in both.views:
        alone = report(encoders, data, over=view.over)
        assert (alone.over, [one.over for one in alone.views]) == (view.over, [view.over])
        assert alone.views[0].metrics == view.metrics
        assert alone.views[0].unjudged == both.views[1].unjudged


def test_judged_matches_alone_that_no_anchor_can_rank_are_refused() -> None:
    """Where no anchor has a negative there is nothing to tell, and another way is named."""
    documents = match_documents(20, label=lambda same: 1 if same else None)
    with pytest.raises(
        MatchDataError, match=r"none of the 20 anchors has a positive and a negative .* 'corpus'"
    ):
        report(encoder(), documents, over="judged")


def test_the_view_that_does_not_decide_may_ask_fewer(data: MatchSet, encoders: Mapping[str, Encoder]) -> None:
    """Those that are drawn are told as they alone would be; 0 leaves the view out, and what decides stays."""
    whole, some, none = (report(encoders, data, beside=beside) for beside in (None, 7, 0))
    assert [(view.anchors, view.not_drawn, view.excluded) for view in some.views] == [(60, 0, 0), (7, 53, 0)]
    assert some.views[1].metrics != whole.views[1].metrics
    assert whole.views[0] == some.views[0]
    assert [view.metrics for view in none.views] == [whole.views[0].metrics]


def test_another_metric_may_decide(data: MatchSet, encoders: Mapping[str, Encoder]) -> None:
    """Tallies, examples and segments are in it, at a rank that need not be asked for."""
    found = report(encoders, data, metric="ndcg@2", segments=dict.fromkeys(data.ids, "all"))
    view = found.views[0]
    assert (found.metric, view.tallies["rival"].won > 0) == ("ndcg@2", True)
    one, other = view.segments[0].differences["rival"], view.differences["rival"]["ndcg@2"]
    assert (one.mean, one.low, one.high) == (other.mean, other.low, other.high)
    won = next(one for one in found.examples if one.chosen == "won")
    assert won.before is not None
    assert won.after.score in np.unique(
        by_judgements(encoders["last"].embed(data.contents), data, over="judged", ks=(2,)).per_query["ndcg@2"]
    )


def test_a_metric_that_there_is_not_is_refused(data: MatchSet) -> None:
    """Those that there are, are named."""
    with pytest.raises(OptionError, match="no metric 'accuracy'; known are map, mrr"):
        report(encoder(), data, metric="accuracy")


def test_intervals_are_as_sure_as_was_asked(data: MatchSet, encoders: Mapping[str, Encoder]) -> None:
    """A surer one is wider, and the page says how sure it is."""
    sure, surer = (report(encoders, data, confidence=confidence) for confidence in (0.8, 0.99))
    first, second = (one.views[0].differences["rival"]["map"] for one in (sure, surer))
    assert second.low < first.low < first.high < second.high
    assert "(99\N{NO-BREAK SPACE}% interval" in surer.as_html()


def test_encoders_may_be_loaded_one_after_the_other(data: MatchSet) -> None:
    """Each is taken out of the mapping once, so many versions need not be in memory together."""
    taken: list[str] = []

    class Loading(dict[str, Encoder]):
        def __getitem__(self, name: str) -> Encoder:
            taken.append(name)
            return super().__getitem__(name)

    report(Loading(a=encoder(0), b=encoder(1)), data)
    assert taken == ["a", "b"]


def test_half_characters_can_be_written() -> None:
    """Texts with a lone surrogate, which JSON can carry, are told with an escape on the page as in the data."""
    texts = ["\ud800 half", "good", "bad"]
    judged = [
        Document(id=text, text=text, tags=labelled({}, at))
        for text, at in zip(texts[1:], (1, -1), strict=True)
    ]
    anchor = Document(id="q", text=texts[0], matches=judged)
    bag = finetuner.build_encoder(finetuner.EncoderSpec("tests.bag_of_words:bag_of_words"))
    found = report(bag, [anchor])
    assert "\\ud800 half" in found.as_html()
    assert found.as_dict()["examples"][0]["anchor"]["text"] == "\\ud800 half"
