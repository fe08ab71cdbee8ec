"""The cross-attention layers of a ComfyUI UNet, in the order in which adapter files count them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from comfy.ldm.modules.attention import SpatialTransformer, SpatialVideoTransformer
from torch import nn

FAMILIES = {  # (cross-attention width, number of cross-attention layers) -> family
    (768, 16): "SD1.5",
    (1024, 16): "SD2",
    (2048, 70): "SDXL",
    (1280, 42): "SDXL refiner",
}


@dataclass(frozen=True)
class CrossAttentionLayer:
    """Where a cross-attention layer sits and how wide it is.

    Attributes:
        kind: ``"input"``, ``"output"`` or ``"middle"``.
        block: number of the block among those of its kind.
        transformer: number of the transformer block inside the block.
        width: C = heads x head width, the width of K and V.
        context_width: D, the width of the context.
    """

    kind: str
    block: int
    transformer: int
    width: int
    context_width: int

    @property
    def patch_key(self) -> tuple[str, int, int]:
        """The key under which ComfyUI looks up a replace patch of this layer."""
        return self.kind, self.block, self.transformer

    @property
    def block_key(self) -> tuple[str, int]:
        """The key of replace patches that are meant for every layer of the block."""
        return self.kind, self.block


def cross_attention_layers(unet: nn.Module) -> tuple[CrossAttentionLayer, ...]:
    """Walk a UNet: input blocks, output blocks, then the middle block, as diffusers lists its processors.

    Raises:
        ValueError: the model is no image UNet with cross-attention (a DiT such as Flux or SD3, or a video UNet).
    """
    if not all(hasattr(unet, name) for name in ("input_blocks", "middle_block", "output_blocks")):
        raise ValueError(
            f"The connected model ({type(unet).__name__}) is not a UNet with cross-attention. IQA-Adapters work with "
            "SD1.5, SD2, SDXL and their relatives, not with transformers such as Flux or SD3."
        )
    layers = tuple(
        layer
        for kind, blocks in (
            ("input", unet.input_blocks),
            ("output", unet.output_blocks),
            ("middle", [unet.middle_block]),
        )
        for number, block in enumerate(blocks)
        for layer in _layers_of_block(kind, number, block)
    )
    if not layers:
        raise ValueError(f"The connected model ({type(unet).__name__}) has no cross-attention layers to adapt.")
    return layers


def _layers_of_block(kind: str, number: int, block: Sequence[nn.Module] | None) -> Iterator[CrossAttentionLayer]:
    for module in block if block is not None else ():
        if isinstance(module, SpatialVideoTransformer):
            raise ValueError("The connected model is a video UNet (SVD); IQA-Adapters work with image models.")
        if isinstance(module, SpatialTransformer):
            for index, transformer in enumerate(module.transformer_blocks):
                attention = transformer.attn2
                width = attention.heads * attention.dim_head
                yield CrossAttentionLayer(kind, number, index, width, attention.to_k.in_features)


def family(layers: Sequence[CrossAttentionLayer]) -> str:
    """The family of UNets with these layers, or a description by numbers where it has no name."""
    return family_name(layers[0].context_width, len(layers))


def family_name(context_width: int, count: int) -> str:
    """Like :func:`family`, from the two numbers that an adapter file shows, too."""
    described = f"{count} cross-attention layers of context width {context_width}"
    name = FAMILIES.get((context_width, count))
    return f"{name} ({described})" if name else f"a UNet with {described}"


def check_fit(adapter_name: str, shapes: Sequence[tuple[int, int]], layers: Sequence[CrossAttentionLayer]) -> None:
    """Refuse an adapter that was made for another UNet.

    Args:
        shapes: ``(C, D)`` of the adapter's layers, in order.

    Raises:
        ValueError: another number of layers or other widths; the message names both models.
    """
    wanted = [(layer.width, layer.context_width) for layer in layers]
    if list(shapes) == wanted:
        return
    made_for, connected = family_name(shapes[0][1], len(shapes)), family(layers)
    if made_for != connected:
        raise ValueError(
            f"{adapter_name} was made for {made_for}, but the connected model is {connected}. Load an adapter of the "
            "model's family, or a checkpoint of the adapter's."
        )
    number = next(i for i, (has, needs) in enumerate(zip(shapes, wanted, strict=True)) if has != needs)
    raise ValueError(
        f"{adapter_name} does not fit the connected model: its layer {2 * number + 1} has the shape {shapes[number]}, "
        f"the model's {layers[number].patch_key} needs {wanted[number]}. It was made for another pruned variant."
    )
