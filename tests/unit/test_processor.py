"""What the processor can do."""

from pathlib import Path

import pytest

from finetuner.processor import multiplies_bfloat16

FLAGS = Path("/proc/cpuinfo")


@pytest.mark.skipif(not FLAGS.exists(), reason="needs Linux to look it up elsewhere")
def test_the_kernel_says_the_same() -> None:
    """It is what the flags of the processor say."""
    flags = FLAGS.read_text().split()
    assert multiplies_bfloat16() is bool({"avx512_bf16", "amx_bf16"} & set(flags))
