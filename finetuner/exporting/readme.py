"""What lies beside an exported model for people: how it is used, and how near it came to what it was made of."""

from finetuner.exporting.parity import Parity
from finetuner.models import Encoder
from finetuner.release import __version__


def readme(encoder: Encoder, *, dim: int, use: str, parity: Parity) -> str:
    """Return the page in Markdown.

    Args:
        encoder: What was exported.
        dim: Numbers of an embedding.
        use: Lines of Python that embed with it.
        parity: How near it came.
    """
    heads = ", ".join(
        f"{spec.kind} {spec.width} to {spec.dim}" + (" for queries alone" if spec.queries_only else "")
        for spec in encoder.heads.specs
    )
    return (
        "# An exported encoder\n\n"
        f"- made by finetuner {__version__}\n"
        f"- encoder: {encoder.spec.name} {dict(encoder.spec.options)}\n"
        f"- heads, which are part of it: {heads or 'none'}\n"
        f"- embeddings: {dim} numbers, of length 1\n"
        f"- compared with the encoder on {parity.contents} contents: numbers differ by {parity.difference:.1e} at most, "
        f"the least cosine is {parity.cosine:.7f}\n\n"
        f"```python\n{use}```\n"
    )
