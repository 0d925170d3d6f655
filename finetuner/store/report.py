"""What a feed, or a deletion, comes to."""

from dataclasses import dataclass, fields, replace

from finetuner.packs import REFUSALS, Refusal


@dataclass(frozen=True)
class FeedReport:
    """What a feed brought.

    Attributes:
        documents: Match Documents read.
        contents: Contents that no collection had before.
        accepted: Judgements that are new.
        known: Judgements that the same source had given already, with the same label and weight.
        contradicted: Of the accepted ones, those with another label than this or another source had given
            before. What this source had said is superseded; what another said stands beside it.
        refused: Judgements, and documents without one, that were left out.
        refusals: The first of the reasons why.
    """

    documents: int = 0
    contents: int = 0
    accepted: int = 0
    known: int = 0
    contradicted: int = 0
    refused: int = 0
    refusals: tuple[Refusal, ...] = ()

    def __add__(self, other: "FeedReport") -> "FeedReport":
        """Return what both feeds brought."""
        sums = {one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)}
        return replace(FeedReport(**sums), refusals=sums["refusals"][:REFUSALS])


@dataclass(frozen=True)
class Deleted:
    """What a deletion took away.

    Attributes:
        documents: Documents, whether anchors, matches or neither.
        anchors: How many of them were anchors.
        judgements: Judgements about them, those of the past included.
        contents: Contents that nothing else holds.
    """

    documents: int = 0
    anchors: int = 0
    judgements: int = 0
    contents: int = 0
