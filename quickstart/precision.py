"""The precision in which a device samples and trains the quickstart fastest."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # x86, x86, ARM
CPU = torch.device("cpu")


def multiplies_bfloat16(device: torch.device = CPU) -> bool:
    """Whether bfloat16 is multiplied in hardware. Elsewhere torch emulates it, several times slower than float32."""
    if device.type != "cpu":
        return torch.get_device_module(device).is_bf16_supported()
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in BFLOAT16_INSTRUCTIONS)


def autocast(device: torch.device = CPU) -> AbstractContextManager:
    """bfloat16 autocast where it is faster than float32; elsewhere nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=multiplies_bfloat16(device))
