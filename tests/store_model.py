"""A store to compare with: lists of everything that was ever said, and what holds is worked out each time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from finetuner.store import CollectionInfo, Deleted, FeedReport


class Match(NamedTuple):
    """A match as it is fed: its id, how it is judged, and its tags as JSON or nothing."""

    name: str
    label: float | None
    weight: float
    tags: str


class Anchor(NamedTuple):
    """An anchor as it is fed."""

    name: str
    tags: str
    matches: tuple[Match, ...]


class Emission(NamedTuple):
    """What is read of a collection: (id, text, tags, matches) of its anchors, and (id, text) of what is left.

    A match is (id, text, label, weight, tags).
    """

    anchors: list[tuple[str, str, str, list[tuple[str, str, float | None, float, str]]]]
    alone: list[tuple[str, str]]


class Said(NamedTuple):
    """One word about a pair."""

    position: int
    source: str
    anchor: str
    match: Match


@dataclass
class Collection:
    """What was said in a collection, each with the position of the feed that brought it.

    Attributes:
        feeds: Source and time by position.
        came: Position and text of each document, in order.
        asked: Position at which each anchor became one, in order.
        tagged: (position, anchor, tags).
        said: Everything about pairs.
    """

    feeds: dict[int, tuple[str, datetime]] = field(default_factory=dict)
    came: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    tagged: list[tuple[int, str, str]] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)

    @property
    def position(self) -> int:
        """The newest one."""
        return max(self.feeds, default=0)

    def emitted(self, position: int | None = None) -> Emission:
        """Return what is to be read at a position, by default the newest."""
        position = self.position if position is None else position
        texts = {name: text for name, (at, text) in self.came.items() if at <= position}
        anchors = [name for name, at in self.asked.items() if at <= position]
        said = [one for one in self.said if one.position <= position]
        tags = {anchor: tags for at, anchor, tags in self.tagged if at <= position}
        matches: dict[str, dict[str, Match]] = {anchor: {} for anchor in anchors}
        for one in said:
            before = matches[one.anchor].get(one.match.name, Match("", None, 1.0, ""))
            judged = before if one.match.label is None else one.match
            newest = one.match._replace(
                label=judged.label, weight=judged.weight, tags=one.match.tags or before.tags
            )
            matches[one.anchor][one.match.name] = newest
        referred = {*anchors, *(one.match.name for one in said)}
        return Emission(
            [
                (
                    anchor,
                    texts[anchor],
                    tags.get(anchor, ""),
                    [(m[0], texts[m[0]], *m[1:]) for m in mine.values()],
                )
                for anchor, mine in matches.items()
            ],
            [(name, text) for name, text in texts.items() if name not in referred],
        )

    def positions(self) -> set[int]:
        """Return the positions of everything."""
        documents = [position for position, _ in self.came.values()]
        return {
            *documents,
            *self.asked.values(),
            *(one[0] for one in self.tagged),
            *(one[0] for one in self.said),
        }

    def tag(self, position: int, pack: Iterable[Anchor]) -> None:
        """Take in the tags of anchors; of several for one anchor the last ones hold."""
        for anchor, tags in {one.name: one.tags for one in pack if one.tags}.items():
            about = [one for one in self.tagged if one[1] == anchor]
            if not about or about[-1][2] != tags:
                self.tagged = [one for one in self.tagged if one[:2] != (position, anchor)]
                self.tagged.append((position, anchor, tags))

    def say(self, said: Said) -> FeedReport:
        """Take in a word about a pair if it is new, and return what is to be reported."""
        label, weight, tags = said.match[1:]
        about = [one for one in self.said if (one.anchor, one.match.name) == (said.anchor, said.match.name)]
        by_source = {one.source: one.match[1:3] for one in about if one.match.label is not None}
        known = label is not None and by_source.get(said.source) == (label, weight)
        newest = next((one.match.tags for one in reversed(about) if one.match.tags), "")
        if label is None or known:
            # what was said before is not said again, even where it brings new tags
            said = said._replace(match=Match(said.match.name, None, 1.0, tags))
        if not about or said.match.label is not None or tags not in ("", newest):
            self.said.append(said)
        if label is None:
            return FeedReport()
        if known:
            return FeedReport(known=1)
        return FeedReport(
            accepted=1, contradicted=int(any(other != label for other, _ in by_source.values()))
        )

    def labels(self) -> dict[tuple[str, str], dict[str, tuple[float, float]]]:
        """Return the newest label and weight of each source by pair."""
        found: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
        for one in self.said:
            of_pair = found.setdefault((one.anchor, one.match.name), {})
            if one.match.label is not None:
                of_pair[one.source] = one.match.label, one.match.weight
        return found

    def contradictions(self) -> set[tuple[str, str]]:
        """Return the pairs that one source likes and another does not."""
        signs = {pair: [label for label, _ in said.values()] for pair, said in self.labels().items()}
        return {pair for pair, labels in signs.items() if labels and min(labels) < 0 < max(labels)}


@dataclass
class Model:
    """All collections."""

    collections: dict[str, Collection] = field(default_factory=dict)

    def held(self) -> set[str]:
        """Return all texts."""
        return {text for collection in self.collections.values() for _, text in collection.came.values()}

    def infos(self) -> list[CollectionInfo]:
        """Return what is told of all collections."""
        return [
            CollectionInfo(
                name=name,
                anchors=len(one.asked),
                contents=len({text for _, text in one.came.values()}),
                judgements=sum(len(said) for said in one.labels().values()),
                position=one.position,
            )
            for name, one in sorted(self.collections.items())
        ]

    def feed(
        self,
        name: str,
        texts: Mapping[str, str],
        anchors: Sequence[Anchor],
        *,
        source: str,
        at: datetime,
        per_pack: int = 256,
    ) -> FeedReport:
        """Take in documents, which are new or known with the same text, and anchors, all of whose documents are known.

        Returns:
            What is to be reported.
        """
        collection = self.collections.setdefault(name, Collection())
        position = collection.position + 1
        report = FeedReport(documents=len(anchors), contents=len(set(texts.values()) - self.held()))
        for document, text in texts.items():
            collection.came.setdefault(document, (position, text))
        for first in range(0, len(anchors), per_pack):
            collection.tag(position, anchors[first : first + per_pack])
        for anchor in anchors:
            collection.asked.setdefault(anchor.name, position)
            for match in anchor.matches:
                report += collection.say(Said(position, source, anchor.name, match))
        if position in collection.positions():
            collection.feeds[position] = source, at
        return report

    def delete(self, name: str, documents: Sequence[str] | None) -> Deleted:
        """Forget documents, or a whole collection, and return what is to be reported."""
        held, collection = self.held(), self.collections[name]
        gone = set(collection.came if documents is None else documents)
        left = Collection(
            feeds=collection.feeds,
            came={one: text for one, text in collection.came.items() if one not in gone},
            asked={one: at for one, at in collection.asked.items() if one not in gone},
            tagged=[one for one in collection.tagged if one[1] not in gone],
            said=[one for one in collection.said if not {one.anchor, one.match.name} & gone],
        )
        if documents is None:
            del self.collections[name]
        else:
            self.collections[name] = left
        return Deleted(
            documents=len(collection.came) - len(left.came),
            anchors=len(collection.asked) - len(left.asked),
            judgements=_judgements(collection) - _judgements(left),
            contents=len(held - self.held()),
        )

    def copy(self, name: str, into: str) -> None:
        """Feed again what is left of each feed of a collection."""
        old = self.collections[name]
        for position, (source, at) in old.feeds.items():
            texts = {one: text for one, (came, text) in old.came.items() if came == position}
            anchors = [Anchor(one, "", ()) for one, asked in old.asked.items() if asked == position]
            anchors += [Anchor(one, tags, ()) for tagged, one, tags in old.tagged if tagged == position]
            anchors += [
                Anchor(said.anchor, "", (said.match,)) for said in old.said if said.position == position
            ]
            if texts or anchors:
                self.feed(into, texts, anchors, source=source, at=at)


def _judgements(collection: Collection) -> int:
    return sum(one.match.label is not None for one in collection.said)
