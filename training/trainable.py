"""An IQA-Adapter whose weights learn."""

from __future__ import annotations

import copy
import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..adapter.adapter import Adapter, LayerWeights
from ..adapter.metadata import Metadata
from ..adapter.projection import QualityEncoding, QualityProjection
from ..adapter.sites import check_fit, sites
from .settings import TrainingSettings


class TrainableAdapter(nn.Module):
    """Projection and W'_k, W'_v of all layers, in float32.

    W'_k and W'_v are the rows of one matrix ``[2 sum(C), D]``, in the order of :meth:`Adapter.keys_values`: one product
    gives K' and V' of all layers, and one tensor is optimised, averaged and synchronised.
    """

    def __init__(self, encoding: QualityEncoding, projection: QualityProjection, weights: list[Tensor]):
        super().__init__()
        self.encoding = encoding
        self.projection = projection
        self.rows = [len(weight) for weight in weights]
        self.weight = nn.Parameter(torch.cat([weight.detach().cpu().float() for weight in weights]))

    @classmethod
    def from_unet(cls, unet: nn.Module, quality_width: int, settings: TrainingSettings) -> TrainableAdapter:
        """Random projection; W'_k and W'_v start as copies of the layers' own W_k and W_v.

        Args:
            unet: a ComfyUI UNet.
            quality_width: m, values of the quality input.

        Raises:
            ValueError: the model has no cross-attention layers.
        """
        found = sites(unet)
        encoding = QualityEncoding(settings.use_flag, settings.positional_octaves)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            projection = QualityProjection(
                encoding.width(quality_width), settings.tokens, found[0].context_width, settings.hidden_width
            )
        return cls(encoding, projection, [weight for site in found for weight in site.initial_weights()])

    @classmethod
    def from_adapter(cls, adapter: Adapter, unet: nn.Module, quality_width: int) -> TrainableAdapter:
        """Continue from an adapter, with its own projection, tokens and encoding.

        Raises:
            ValueError: it does not fit the UNet or takes another quality input.
        """
        adapter.encode(torch.zeros(1, quality_width))  # reports a wrong width
        check_fit(adapter.name, adapter.shapes, sites(unet), adapter.metadata.base_model)
        encoding = QualityEncoding(adapter.metadata.use_flag, adapter.metadata.positional_octaves)
        projection = copy.deepcopy(adapter.projection).requires_grad_(True).train()
        return cls(encoding, projection, [weight for layer in adapter.layers for weight in (layer.key, layer.value)])

    def forward(self, quality: Tensor, keep: Tensor) -> Tensor:
        """K' and V' of a batch.

        Args:
            quality: ``[N, m]`` standardised scores or features.
            keep: ``[N, 1]``, 0 where the input is dropped: its encoding is zero then, as that of unconditional rows.

        Returns:
            ``[N, T, 2 sum(C)]``
        """
        return self.keys_values(self.projection(self.encoding(quality) * keep))

    def keys_values(self, tokens: Tensor) -> Tensor:
        """``[N, T, D]`` -> ``[N, T, 2 sum(C)]``, as :meth:`Adapter.keys_values`, with gradients."""
        return F.linear(tokens, self.weight)

    def to_adapter(self, name: str, metadata: Metadata) -> Adapter:
        """A copy on the CPU that learns no more; the metadata gets the encoding."""
        parts = self.weight.detach().cpu().clone().split(self.rows)
        layers = tuple(LayerWeights(key, value) for key, value in zip(parts[::2], parts[1::2], strict=True))
        projection = copy.deepcopy(self.projection).cpu().requires_grad_(False).eval()
        flag, octaves = self.encoding.use_flag, self.encoding.octaves
        metadata = dataclasses.replace(metadata, use_flag=flag, positional_octaves=octaves)
        return Adapter(name, metadata, projection, layers)
