"""The precision in which this computer's processor samples and trains fastest."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # x86, x86, ARM


def multiplies_bfloat16() -> bool:
    """Whether bfloat16 is multiplied in hardware. Elsewhere torch emulates it, several times slower than float32."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in BFLOAT16_INSTRUCTIONS)


def autocast() -> AbstractContextManager:
    """bfloat16 autocast where it is faster than float32; elsewhere nothing."""
    return torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16())
