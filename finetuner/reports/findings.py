"""What a report finds, as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from finetuner.evaluation import Over
from finetuner.reports.promotion import Promotion
from finetuner.significance import Difference

Means = Mapping[str, Mapping[str, float]]
"""Means by encoder and metric."""

Chosen = Literal["won", "lost", "drawn"]
"""Why an example is shown: the candidate gained most, it lost most, or a draw took it."""


OTHERS = "in no group"
"""The group of what is in none of those that are told apart."""


@dataclass(frozen=True)
class Data:
    """What the encoders were asked about.

    Attributes:
        kind: ``text`` or ``blob``.
        contents: Different contents: the corpus.
        anchors: How many there are, ranked or not.
        positive: Judgements above 0.
        negative: Judgements below 0.
    """

    kind: str
    contents: int
    anchors: int
    positive: int
    negative: int


@dataclass(frozen=True)
class Segment:
    """Some of the anchors.

    Attributes:
        name: What they have in common.
        anchors: How many of them were ranked.
        metrics: The means over them, by encoder and metric.
        differences: By each encoder but the candidate, candidate - encoder in the metric that decides.
    """

    name: str
    anchors: int
    metrics: Means
    differences: Mapping[str, Difference]


@dataclass(frozen=True)
class Tally:
    """In how many queries the candidate is above, below, or level with another encoder."""

    won: int
    lost: int
    level: int


@dataclass(frozen=True)
class View:
    """How the encoders rank, what is unjudged being handled in one way.

    Attributes:
        over: What each anchor ranks: its ``judged`` matches (condensed), or the whole ``corpus``, in which what is
            unjudged counts as irrelevant (strict).
        anchors: Anchors that were ranked: those with a positive, and if only ``judged`` matches are, a negative too.
        not_drawn: Anchors that could be ranked as well, and that a draw left out.
        excluded: All others.
        unjudged: By encoder, the share of the first 10 places in the corpus that nobody judged for the anchor, 0 to 1, in
            the rankings of up to 500 anchors that are drawn; nothing for ``judged`` if there is another view.
        metrics: The means by encoder and metric.
        differences: By each encoder but the candidate, and by metric, candidate - encoder.
        tallies: By each encoder but the candidate, in the metric that decides.
        recall: By encoder, (k, mean recall@k), for more k than were asked for.
        segments: The largest ones first.
        segments_left_out: Segments beyond those.
        unnamed: Ranked anchors that are in no segment; all of them if there are no segments.
    """

    over: Over
    anchors: int
    not_drawn: int
    excluded: int
    unjudged: Mapping[str, float]
    metrics: Means
    differences: Mapping[str, Mapping[str, Difference]]
    tallies: Mapping[str, Tally]
    recall: Mapping[str, tuple[tuple[int, float], ...]]
    segments: tuple[Segment, ...]
    segments_left_out: int
    unnamed: int


@dataclass(frozen=True)
class Shown:
    """A content for people.

    Attributes:
        id: The id of the first document that carried it.
        text: A text, perhaps shortened; of an array that is no picture, what it is and its first numbers; of a
            picture its shape.
        picture: The address of a PNG that holds the picture itself (``data:``); None if it is none.
    """

    id: str
    text: str
    picture: str | None


@dataclass(frozen=True)
class Place:
    """A content in a ranking.

    Attributes:
        content: Which it is.
        label: What it was judged for this anchor; None if nobody did.
        distance: To the anchor, 0 to 2.
    """

    content: Shown
    label: float | None
    distance: float


@dataclass(frozen=True)
class Ranking:
    """What one encoder ranks for one anchor.

    Attributes:
        score: The metric that decides, of this query.
        first_positive: The rank of the first positive, from 1.
        top: The first places.
    """

    score: float
    first_positive: int
    top: tuple[Place, ...]


@dataclass(frozen=True)
class Example:
    """An anchor with what is ranked for it.

    Attributes:
        chosen: Why it is shown.
        anchor: Which it is.
        before: By the encoder that the candidate is held against; None if there is no other.
        after: By the candidate.
    """

    chosen: Chosen
    anchor: Shown
    before: Ranking | None
    after: Ranking


@dataclass(frozen=True)
class Plane:
    """Embeddings of one encoder in two dimensions: their two principal components.

    Attributes:
        encoder: Whose they are.
        explained: Share of the variance that the two components hold, 0 to 1.
        points: x, y and the number of its group, for each content that is drawn.
        groups: The names of the groups, by number.
        lines: Pairs of points, an anchor and a positive match of its own.
    """

    encoder: str
    explained: float
    points: tuple[tuple[float, float, int], ...]
    groups: tuple[str, ...]
    lines: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Epoch:
    """What a training came to after an epoch.

    Attributes:
        epoch: From 1.
        loss: The mean loss; None if it was not told, or is not finite.
        validation_map: MAP of the validation anchors; None if there are none.
    """

    epoch: int
    loss: float | None
    validation_map: float | None


@dataclass(frozen=True)
class Findings:
    """Everything a report tells.

    Attributes:
        title: What it is about.
        library: The version of the library that made it.
        seed: Decided resamples, flips and draws.
        encoders: Their names; the last one is the candidate.
        metric: The metric that decides.
        confidence: How often an interval shall hold the true mean.
        over: What is ranked in the view that decides.
        data: What the encoders were asked about.
        views: One or two, the deciding one first.
        examples: Queries won, lost, and drawn by chance, from the view that decides.
        planes: Of the encoder before the candidate, if there is one, and of the candidate.
        epochs: Those of the training, if its events were given.
        promotion: What becomes of the candidate, as far as it was told.
    """

    title: str
    library: str
    seed: int
    encoders: tuple[str, ...]
    metric: str
    confidence: float
    over: Over
    data: Data
    views: tuple[View, ...]
    examples: tuple[Example, ...]
    planes: tuple[Plane, ...]
    epochs: tuple[Epoch, ...]
    promotion: Promotion

    @property
    def candidate(self) -> str:
        """The encoder that the others are held against."""
        return self.encoders[-1]

    @property
    def rivals(self) -> tuple[str, ...]:
        """All others, the last one first, as the page lists them."""
        return self.encoders[:-1][::-1]

    @property
    def rival(self) -> str | None:
        """The encoder before it, whose rankings and map are shown beside its own."""
        return self.rivals[0] if self.rivals else None
