"""The models that make training items of pictures and captions. They work in the main thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import comfy.sd
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..iqa_models.features import read_layer
from ..iqa_models.loading import IQAModel
from .cache import Tensors, clip_fingerprint, encode_pictures, encode_text, fingerprint, vae_fingerprint
from .latents import check_latents, encode_deviations
from .observer import Silent
from .settings import DataSettings
from .table import ScoredTable


class Models(NamedTuple):
    """What a training needs, as ComfyUI and :func:`..iqa_models.loading.load_iqa_model` load it.

    Attributes:
        iqa_model: for drawn variants: the model of the table's activations.
    """

    model: ModelPatcher
    clip: comfy.sd.CLIP
    vae: comfy.sd.VAE
    iqa_model: IQAModel | None = None


class Keys(NamedTuple):
    """What tells encoders apart in the cache; empty where nothing is kept, ``iqa`` where no variants are drawn, too."""

    clip: str = ""
    vae: str = ""
    iqa: str = ""


@dataclass(frozen=True)
class Source:
    """A training picture before it is encoded.

    Attributes:
        key: of the picture.
        pixels: ``[H, W, 3]`` float32, what is learnt.
        size: ``[6]`` as in :data:`.stream.SIZES`.
        seen: ``[h, w, 3]`` what the IQA model sees of a drawn variant; else None.
    """

    key: str
    pixels: Tensor
    size: Tensor
    seen: Tensor | None = None


class Encoder:
    """Captions -> embeddings, pictures -> latents and, of drawn variants, activations.

    Args:
        models: that encode.
        table: says which activations.
        settings: say whether variants are drawn, latents sampled, and captions cut.

    Raises:
        ValueError: table or models are not for that.
    """

    def __init__(self, models: Models, table: ScoredTable, settings: DataSettings):
        _check_drawing(models, table, settings)
        check_latents(models.vae, settings.latents)
        self.models, self._contents, self._settings = models, table.contents, settings

    @cached_property
    def keys(self) -> Keys:
        iqa = self._iqa_key() if self._settings.drawn else ""
        return Keys(clip_fingerprint(self.models.clip), vae_fingerprint(self.models.vae), iqa)

    def text(self, caption: str) -> Tensors:
        """``text`` and, where the encoder has one, ``pooled``; one at a time, for ComfyUI joins texts given at once."""
        return encode_text(self.models.clip, caption, self._settings.caption_limit)

    def pictures(self, sources: Sequence[Source]) -> list[Tensors]:
        """Of pictures of one size ``latent`` and, if it is to be sampled, ``deviation``, both not yet scaled, ``size``,
        and of drawn variants ``features``.

        Raises:
            ValueError: the IQA model has no finite activations for one.
        """
        pixels = torch.stack([source.pixels for source in sources])
        latents = encode_pictures(self.models.vae, pixels)
        made = [{"latent": latent, "size": source.size} for latent, source in zip(latents, sources, strict=True)]
        if self._settings.latents == "sample":
            for entry, deviation in zip(made, encode_deviations(self.models.vae, pixels), strict=True):
                entry["deviation"] = deviation
        if not self._settings.drawn:
            return made
        features = self._features([source.seen for source in sources], [source.key for source in sources])
        for source, values in zip(sources, features, strict=True):
            if not values.isfinite().all():
                raise ValueError(
                    f"{self._contents.models[0]} has no finite activations for {source.key}, distorted or cropped; use "
                    "another layer, or leave the picture out."
                )
        return [entry | {"features": values} for entry, values in zip(made, features, strict=True)]

    def scale(self, latent: Tensor) -> Tensor:
        """``[C, h, w]`` as the VAE gives it -> as the UNet learns it, float32."""
        return self.models.model.model.process_latent_in(latent.float()[None])[0]

    def _features(self, pictures: Sequence[Tensor], names: Sequence[str]) -> Tensor:
        """``[pictures, dim]``"""
        contents = self._contents
        where = (contents.layer, contents.pooling, contents.protocol)
        return read_layer(self.models.iqa_model, pictures, *where, progress=Silent(), names=names)[0]

    def _iqa_key(self) -> str:
        probe, contents = torch.rand(256, 256, 3, generator=torch.Generator().manual_seed(0)), self._contents
        # as version 0.1.0 called it, so that its caches stay valid
        source = f"{contents.models[0]} (reference, protocol {contents.protocol}, layer {contents.layer}, "
        return f"{source}pooling {contents.pooling}) {fingerprint(self._features([probe], ['a probe'])[0])}"


def _check_drawing(models: Models, table: ScoredTable, settings: DataSettings) -> None:
    if not settings.drawn:
        return
    if table.contents.kind != "reference":
        raise ValueError(
            "distortion_rate and other_crop are for reference-based training, which needs a table of activations; "
            f"{table.folder} holds scores."
        )
    if models.iqa_model is None or models.iqa_model.entry.name != table.contents.models[0]:
        raise ValueError(
            f"distortion_rate and other_crop need the IQA model of the table, {table.contents.models[0]}"
            + (f"; {models.iqa_model.entry.name} is connected." if models.iqa_model else ".")
        )
