"""What the processor does in hardware: it decides, and not a clock, so that a machine always computes the same."""

import torch


def multiplies_bfloat16() -> bool:
    """Return whether the CPU multiplies matrices of bfloat16, several times as fast as those of float32."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
