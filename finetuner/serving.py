"""The engine: embeds contents with one model version, which can be swapped at any moment."""

from collections.abc import Collection
from dataclasses import dataclass

from finetuner.contents import Contents
from finetuner.errors import NotWarmError
from finetuner.models import Embeddings, Encoder, Side


@dataclass(frozen=True)
class Served:
    """A version that is loaded."""

    version: str
    encoder: Encoder


class Engine:
    """Embeds with the served version, or with one that served before and is still loaded.

    Args:
        served: The version to begin with.
        batch_size: Contents in one forward pass at most.
        keep_warm: How many versions stay loaded, that one among them: the last ones that served.
    """

    def __init__(self, served: Served, *, batch_size: int = 64, keep_warm: int = 1) -> None:
        self._batch_size = batch_size
        self._keep_warm = keep_warm
        self._warm: tuple[Served, ...] = ()
        self.swap(served)

    @property
    def served(self) -> Served:
        """What serves now."""
        return self._warm[0]

    @property
    def warm(self) -> tuple[Served, ...]:
        """The versions that are loaded, the one that serves first, then the one that served last."""
        return self._warm

    def swap(self, served: Served) -> None:
        """Serve another version from the next request on; requests that are running end with theirs.

        Of those that are warm then, the one that has not served for the longest is let go if they are too many. One
        thread may swap or :meth:`keep_only` at a time.
        """
        served.encoder.eval()
        others = [one for one in self._warm if one.version != served.version]
        # one assignment: a reader sees the old or the new one, never a mixture
        self._warm = (served, *others)[: self._keep_warm]

    def keep_only(self, versions: Collection[str]) -> None:
        """Let go of the versions that are none of these; what serves stays."""
        served, *others = self._warm
        self._warm = (served, *(one for one in others if one.version in versions))

    def embed(
        self, contents: Contents, side: Side = "document", version: str | None = None
    ) -> tuple[Embeddings, str]:
        """Return embeddings, float32 (N, D), and the one version that made all of them.

        Args:
            contents: N texts, or an array (N, ...).
            side: What they are embedded as.
            version: The name of a version that is warm; None for the one that serves.

        Raises:
            NotWarmError: If that version is not loaded.
            EncoderError: If the encoder does not take such contents.
        """
        warm = self._warm
        served = warm[0] if version is None else _one_of(warm, version)
        return served.encoder.embed(contents, batch_size=self._batch_size, side=side), served.version


def _one_of(warm: tuple[Served, ...], version: str) -> Served:
    for one in warm:
        if one.version == version:
            return one
    names = ", ".join(one.version for one in warm[1:])
    raise NotWarmError(
        f"version {version!r} is not warm: loaded are {warm[0].version}, which serves"
        f"{f', and {names}' if names else ', and no other'}; name one of these, or /promote it; "
        "keep_warm tells how many stay loaded, /models which versions there are"
    )
