"""Quality input -> encoded input -> token projection (arXiv 2412.01794, section 3; IP-Adapter, arXiv 2308.06721)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class QualityEncoding(nn.Module):
    """Optional encodings of the quality input ``s``: a constant flag, then positional encoding.

    ``s`` becomes ``[s, 1]`` with ``use_flag``; with ``octaves = L > 0`` every value ``p`` of it is followed by
    ``sin(pi 2^l p)`` and ``cos(pi 2^l p)``, l = 0...L-1, grouped as all values, all sines, all cosines.
    """

    def __init__(self, use_flag: bool = False, octaves: int = 0):
        super().__init__()
        self.use_flag = use_flag
        self.octaves = octaves

    def width(self, quality_width: int) -> int:
        """Width of the encoding of a quality input of ``quality_width`` values."""
        return (quality_width + self.use_flag) * (1 + 2 * self.octaves)

    def forward(self, quality: Tensor) -> Tensor:
        """[N, m] -> [N, width(m)]"""
        if self.use_flag:
            quality = torch.cat([quality, torch.ones_like(quality[:, :1])], dim=1)
        if not self.octaves:
            return quality
        frequencies = torch.pi * 2.0 ** torch.arange(self.octaves, device=quality.device, dtype=quality.dtype)
        phases = (quality[:, :, None] * frequencies).flatten(1)
        return torch.cat([quality, phases.sin(), phases.cos()], dim=1)


class QualityProjection(nn.Module):
    """``c = LayerNorm(reshape(f(s), [T, D]))`` with a linear map or a small MLP as ``f``.

    Parameter names are those of the released files below ``image_proj.``.

    Args:
        inputs: width of the encoded quality input.
        tokens: T.
        width: D, the UNet's cross-attention width.
        mlp_width: hidden width of the MLP (128 in the released adapters); 0 for the linear map.
    """

    def __init__(self, inputs: int, tokens: int, width: int, mlp_width: int = 0):
        super().__init__()
        self.tokens, self.width = tokens, width
        self.proj: nn.Module
        if mlp_width:
            self.proj = nn.Sequential(nn.Linear(inputs, mlp_width), nn.GELU(), nn.Linear(mlp_width, tokens * width))
        else:
            self.proj = nn.Linear(inputs, tokens * width)
        self.norm = nn.LayerNorm(width)

    @property
    def mlp_width(self) -> int:
        """Hidden width of the MLP; 0 for the linear map."""
        *_, last = (module for module in self.proj.modules() if isinstance(module, nn.Linear))
        return 0 if last is self.proj else last.in_features

    @property
    def inputs(self) -> int:
        """Width of the encoded quality input."""
        first = next(module for module in self.proj.modules() if isinstance(module, nn.Linear))
        return first.in_features

    def forward(self, encoded: Tensor) -> Tensor:
        """[N, inputs] -> quality tokens [N, T, D]"""
        return self.norm(self.proj(encoded).unflatten(-1, (self.tokens, self.width)))
