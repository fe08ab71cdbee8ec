"""The families of transformers that adapters work with: where their attention layers are, in the order of files.

Every family is one function; :func:`transformer_sites` asks them by the class of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from comfy.ldm.chroma.model import Chroma
from comfy.ldm.cosmos.predict2 import MiniTrainDIT
from comfy.ldm.flux.model import Flux
from comfy.ldm.hidream.model import HiDreamImageTransformer2DModel
from comfy.ldm.lumina.model import NextDiT
from comfy.ldm.modules.diffusionmodules.mmdit import MMDiT
from comfy.ldm.qwen_image.model import QwenImageTransformer2DModel
from comfy.ldm.wan.model import WanModel
from torch import nn

from .transformer_sites import NOTES, TransformerSite, Weights


def transformer_sites(model: nn.Module) -> tuple[TransformerSite, ...] | None:
    """The sites of a transformer, or None if it is of no known family."""
    for kind, sites_of in FAMILIES.items():
        if isinstance(model, kind):
            return tuple(sites_of(model)) or None
    return None


def _flux(model: Flux | Chroma) -> Iterator[TransformerSite]:
    """Text, picture, reference latents; in single blocks they are one stream."""
    name = "Flux 2" if getattr(model.params, "global_modulation", False) else "Flux"
    if isinstance(model, Chroma):
        name = type(model).__name__.replace("Radiance", " Radiance")
    width, heads = model.hidden_size, model.num_heads

    def site(kind: str, number: int, block: nn.Module, qkv: nn.Linear, norm: nn.Module, locate) -> TransformerSite:
        return TransformerSite(
            name, kind, number, block, heads, width, width, model.txt_in.in_features,
            _second_and_third(qkv, width), norm, (1, model.patch_size, model.patch_size), locate,
        )  # fmt: skip

    for number, block in enumerate(model.double_blocks):
        yield site("double", number, block, block.txt_attn.qkv, block.txt_attn.norm.key_norm, _in_double_block)
    for number, block in enumerate(model.single_blocks):
        yield site("single", number, block, block.linear1, block.norm.key_norm, _in_single_block)


def _second_and_third(qkv: nn.Linear, width: int) -> tuple[Weights, Weights]:
    """K and V of a fused projection of Q, K and V."""
    return Weights(qkv, (width, 2 * width)), Weights(qkv, (2 * width, 3 * width))


def _in_double_block(_tokens: int, _arguments, named: dict, options: dict) -> tuple[int, int]:
    """Text and picture are given apart; single blocks get them joined, and the text stays as long."""
    options[NOTES]["text"] = text = named["txt"].shape[1]
    return text, text + named["img"].shape[1]


def _in_single_block(_tokens: int, arguments, named: dict, options: dict) -> tuple[int, int]:
    stream = arguments[0] if arguments else named["x"]
    return options[NOTES]["text"], stream.shape[1]


def _sd3(model: MMDiT) -> Iterator[TransformerSite]:
    """Text, then picture; SD3.5 medium's blocks have a second attention, of the picture alone."""

    def locate(_tokens: int, arguments, _named: dict, _options: dict) -> tuple[int, int]:
        text, picture = (stream.shape[1] for stream in arguments[:2])
        return text, text + picture

    width, patch = model.hidden_size, model.patch_size
    text = getattr(model.context_embedder, "in_features", width)
    for number, block in enumerate(model.joint_blocks):
        attention = block.context_block.attn
        normed = any(True for _ in attention.ln_k.parameters())
        weights = _second_and_third(attention.qkv, width)
        yield TransformerSite(
            "SD3.5" if normed else "SD3", "joint", number, block, attention.num_heads, width, width, text, weights,
            attention.ln_k if normed else None, (1, patch, patch), locate,
        )  # fmt: skip


def _qwen(model: QwenImageTransformer2DModel) -> Iterator[TransformerSite]:
    """Text, picture, reference latents."""

    def locate(_tokens: int, _arguments, named: dict, _options: dict) -> tuple[int, int]:
        text = named["encoder_hidden_states"].shape[1]
        return text, text + named["hidden_states"].shape[1]

    for number, block in enumerate(model.transformer_blocks):
        attention = block.attn
        weights = Weights(attention.add_k_proj), Weights(attention.add_v_proj)
        yield TransformerSite(
            "Qwen-Image", "double", number, block, attention.heads, model.inner_dim, model.inner_dim,
            model.txt_in.in_features, weights, attention.norm_added_k, (1, model.patch_size, model.patch_size), locate,
        )  # fmt: skip


def _lumina(model: NextDiT) -> Iterator[TransformerSite]:
    """Text, what the newer version puts between (pictures to edit), picture, then padding of Z-Image."""
    multiple = model.pad_tokens_multiple or 1

    def locate(tokens: int, arguments, _named: dict, _options: dict) -> tuple[int, int]:
        count = arguments[0].shape[1]
        return count + -tokens // multiple * multiple, count

    name = "Lumina 2" if model.pad_tokens_multiple is None else "Z-Image"
    for number, layer in enumerate(model.layers):
        attention = layer.attention
        head_width, own = attention.head_dim, attention.n_local_heads * attention.head_dim
        shared = attention.n_local_kv_heads * head_width
        repeats = attention.n_local_heads // attention.n_local_kv_heads
        middle, end = own + shared, own + 2 * shared
        weights = (
            Weights(attention.qkv, (own, middle), repeats, head_width),
            Weights(attention.qkv, (middle, end), repeats, head_width),
        )
        norm = None if isinstance(attention.k_norm, nn.Identity) else attention.k_norm
        yield TransformerSite(
            name, "layer", number, attention, attention.n_local_heads, own, model.dim,
            model.cap_embedder[1].in_features, weights, norm, (1, model.patch_size, model.patch_size), locate,
        )  # fmt: skip


def _predict2(model: MiniTrainDIT) -> Iterator[TransformerSite]:
    """Cross-attention: the picture attends to the text."""

    def locate(_tokens: int, arguments, _named: dict, _options: dict) -> tuple[int, int]:
        return 0, arguments[0].shape[1]

    name = "Anima" if type(model).__name__ == "Anima" else "Cosmos-Predict2"
    for number, block in enumerate(model.blocks):
        attention = block.cross_attn
        yield TransformerSite(
            name, "block", number, attention, attention.n_heads, attention.n_heads * attention.head_dim,
            attention.k_proj.in_features, attention.k_proj.in_features,
            (Weights(attention.k_proj), Weights(attention.v_proj)), attention.k_norm,
            (model.patch_temporal, model.patch_spatial, model.patch_spatial), locate,
        )  # fmt: skip


def _wan(model: WanModel) -> Iterator[TransformerSite]:
    """Cross-attention; image-to-video models attend to a picture first and to the text after it."""
    if type(model) is not WanModel:  # its relatives for audio, cameras and animation put other tokens in
        return
    refused = tuple(
        (name, "a reference picture") for name in ("reference_latent", "time_dim_concat", "context_latents")
    )

    def locate(_tokens: int, arguments, _named: dict, _options: dict) -> tuple[int, int]:
        return 0, arguments[0].shape[1]

    pictures = 0 if model.img_emb is None else 1  # without a picture they attend to the text in its place
    for number, block in enumerate(model.blocks):
        attention = block.cross_attn
        norm = None if isinstance(attention.norm_k, nn.Identity) else attention.norm_k
        yield TransformerSite(
            "Wan", "block", number, attention, attention.num_heads, model.dim, model.dim,
            model.text_embedding[0].in_features, (Weights(attention.k), Weights(attention.v)), norm,
            tuple(model.patch_size), locate, refused, pictures,
        )  # fmt: skip


def _hidream(model: HiDreamImageTransformer2DModel) -> Iterator[TransformerSite]:
    """Picture, then text."""
    refused = (("image_cond", "a picture to edit (HiDream-E1)"),)

    def locate(_tokens: int, arguments, _named: dict, _options: dict) -> tuple[int, int]:
        text = arguments[2] if len(arguments) > 2 else None
        return 0, arguments[0].shape[1] + (0 if text is None else text.shape[1])

    kinds = ("double", model.double_stream_blocks, "_t"), ("single", model.single_stream_blocks, "")
    for kind, blocks, end in kinds:
        for number, holder in enumerate(blocks):
            attention = holder.block.attn1
            weights = Weights(getattr(attention, "to_k" + end)), Weights(getattr(attention, "to_v" + end))
            yield TransformerSite(
                "HiDream", kind, number, attention, attention.heads, attention.inner_dim, attention.inner_dim,
                model.caption_projection[-1].linear.in_features, weights,
                getattr(attention, "k_rms_norm" + end), (1, model.patch_size, model.patch_size), locate, refused,
            )  # fmt: skip


NAMES = (
    "Flux", "Flux 2", "Chroma", "Chroma Radiance", "SD3", "SD3.5", "Qwen-Image", "Lumina 2", "Z-Image",
    "Cosmos-Predict2", "Anima", "Wan", "HiDream",
)  # fmt: skip
FAMILIES: dict[type, Callable] = {
    Flux: _flux,
    Chroma: _flux,
    MMDiT: _sd3,
    QwenImageTransformer2DModel: _qwen,
    NextDiT: _lumina,
    MiniTrainDIT: _predict2,
    WanModel: _wan,
    HiDreamImageTransformer2DModel: _hidream,
}
