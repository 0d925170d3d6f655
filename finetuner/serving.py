"""The engine: embeds contents with one model version, which can be swapped at any moment."""

from dataclasses import dataclass

from finetuner.contents import Contents
from finetuner.models import Embeddings, Encoder, Side


@dataclass(frozen=True)
class Served:
    """A version that is loaded."""

    version: str
    encoder: Encoder


class Engine:
    """Embeds with the served version.

    Args:
        served: The version to begin with.
        batch_size: Contents in one forward pass at most.
    """

    def __init__(self, served: Served, *, batch_size: int = 64) -> None:
        self._batch_size = batch_size
        self._served = served
        self.swap(served)

    @property
    def served(self) -> Served:
        """What serves now."""
        return self._served

    def swap(self, served: Served) -> None:
        """Serve another version from the next request on; requests that are running end with theirs."""
        served.encoder.eval()
        self._served = served  # one assignment: a reader sees the old or the new one, never a mixture

    def embed(self, contents: Contents, side: Side = "document") -> tuple[Embeddings, str]:
        """Return embeddings, float32 (N, D), and the one version that made all of them.

        Args:
            contents: N texts, or an array (N, ...).
            side: What they are embedded as.

        Raises:
            EncoderError: If the encoder does not take such contents.
        """
        served = self._served
        return served.encoder.embed(contents, batch_size=self._batch_size, side=side), served.version
