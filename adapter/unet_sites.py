"""The cross-attention layers of ComfyUI's UNets as sites."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from comfy.ldm.modules.attention import CrossAttention, SpatialTransformer, SpatialVideoTransformer
from torch import Tensor, nn

from .site import Site


@dataclass(frozen=True)
class UNetSite(Site):
    """The cross-attention (``attn2``) of one transformer block.

    Attributes:
        kind: ``"input"``, ``"output"`` or ``"middle"``.
        block: number of the UNet's block among those of its kind.
        transformer: number of the transformer block inside it.
        layer: the module.
        holder: the transformer block, in which another node may put another module in its place.
        width, heads, context_width, text_width: of the layer; the text is what it attends to.
    """

    kind: str
    block: int
    transformer: int
    layer: CrossAttention = field(repr=False, compare=False)
    holder: nn.Module = field(repr=False, compare=False)
    width: int
    heads: int
    context_width: int
    text_width: int
    family: str = ""

    @property
    def name(self) -> str:
        return f"{self.group}.{self.transformer}"

    @property
    def group(self) -> str:
        return f"{self.kind}.{self.block}"

    def initial_weights(self) -> tuple[Tensor, Tensor]:
        return self.layer.to_k.weight, self.layer.to_v.weight

    def install(self, options: dict, attention: Callable[[Callable | None], Callable]) -> None:
        """ComfyUI asks for a patch of the transformer block first, and for one of the UNet's block after it.

        Raises:
            ValueError: another node put in a module whose attention no patch can replace.
        """
        if not _is_attention(self.holder.attn2):
            raise _replaced(self.name, self.holder.attn2)
        own, of_block = (self.kind, self.block, self.transformer), (self.kind, self.block)
        patches = options["patches_replace"].setdefault("attn2", {})
        patches[own] = attention(patches.get(own, patches.get(of_block)))

    def rows(self, extra_options: dict) -> int:
        return extra_options["activations_shape"][0]

    def size(self, extra_options: dict) -> tuple[int, int]:
        return tuple(extra_options["activations_shape"][-2:])


def unet_sites(model: Any) -> tuple[UNetSite, ...] | None:
    """Input blocks, output blocks, then the middle block, as diffusers lists its attention processors.

    None if the model is no UNet.

    Raises:
        ValueError: a video UNet, or one without cross-attention.
    """
    if not all(hasattr(model, name) for name in ("input_blocks", "middle_block", "output_blocks")):
        return None
    numbered = [
        *(("input", *each) for each in enumerate(model.input_blocks)),
        *(("output", *each) for each in enumerate(model.output_blocks)),
        ("middle", 0, model.middle_block),
    ]
    found = tuple(site for kind, number, block in numbered for site in _of_block(kind, number, block))
    if not found:
        raise ValueError(f"The connected model ({type(model).__name__}) has no cross-attention layers to adapt.")
    return found


def _of_block(kind: str, number: int, block: Sequence[nn.Module] | None) -> Iterator[UNetSite]:
    for module in block if block is not None else ():
        if isinstance(module, SpatialVideoTransformer):
            raise ValueError("The connected model is a video UNet (SVD); IQA-Adapters work with image models.")
        if isinstance(module, SpatialTransformer):
            for index, transformer in enumerate(module.transformer_blocks):
                layer = transformer.attn2
                if not _is_attention(layer):
                    raise _replaced(f"{kind}.{number}.{index}", layer)
                width, text = layer.heads * layer.dim_head, layer.to_k.in_features
                yield UNetSite(kind, number, index, layer, transformer, width, layer.heads, text, text)


def _is_attention(module: object) -> bool:
    return hasattr(module, "to_q")


def _replaced(name: str, module: object) -> ValueError:
    return ValueError(
        f"The attention layer {name} is a {type(module).__name__}, which another node put there (attention sharing of "
        "layer diffusion does) and no adapter can reach. Take that node out; if it is out already, unload the models "
        "once."
    )
