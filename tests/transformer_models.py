"""Narrow transformers of ComfyUI's own classes with random weights, one of every family that adapters work with."""

from __future__ import annotations

import dataclasses
import importlib.util
from types import SimpleNamespace

import comfy.ldm.chroma.model
import comfy.ldm.flux.model
import comfy.model_patcher
import comfy.supported_models
import torch
from sampling import cfg_guider, denoise_once
from torch import Tensor

from iqa_adapter.adapter import adapter, metadata, projection
from iqa_adapter.adapter import sites as layers

CONTEXT = 32  # width of the text
TEXT = 7  # tokens of it
FLUX = {
    "in_channels": 16, "out_channels": 16, "vec_in_dim": 8, "context_in_dim": CONTEXT, "hidden_size": 32,
    "mlp_ratio": 2.0, "num_heads": 2, "depth": 2, "depth_single_blocks": 3, "axes_dim": [4, 6, 6], "theta": 10000,
    "patch_size": 2, "qkv_bias": True, "guidance_embed": True, "txt_ids_dims": [],
}  # fmt: skip
LUMINA = {
    "patch_size": 2, "in_channels": 16, "dim": 32, "n_layers": 3, "n_refiner_layers": 1, "n_heads": 4, "qk_norm": True,
    "cap_feat_dim": CONTEXT, "axes_dims": [2, 2, 4], "axes_lens": [64, 64, 64], "multiple_of": 16,
    "ffn_dim_multiplier": 1.0,
}  # fmt: skip
PREDICT2 = {
    "max_img_h": 64, "max_img_w": 64, "max_frames": 8, "in_channels": 16, "out_channels": 16, "patch_spatial": 2,
    "patch_temporal": 1, "model_channels": 64, "num_blocks": 3, "num_heads": 2, "crossattn_emb_channels": CONTEXT,
    "pos_emb_cls": "rope3d", "concat_padding_mask": True, "use_adaln_lora": True, "adaln_lora_dim": 8, "mlp_ratio": 2.0,
    "rope_h_extrapolation_ratio": 1.0, "rope_w_extrapolation_ratio": 1.0, "rope_t_extrapolation_ratio": 1.0,
    "extra_per_block_abs_pos_emb": False,
}  # fmt: skip
SD3 = {
    "in_channels": 16, "patch_size": 2, "depth": 2, "num_blocks": 3, "adm_in_channels": 8, "pos_embed_max_size": 32,
    "num_patches": 1024, "context_embedder_config":
    {"target": "torch.nn.Linear", "params": {"in_features": CONTEXT, "out_features": 128}},
}  # fmt: skip
WAN = {
    "model_type": "t2v", "patch_size": (1, 2, 2), "in_dim": 16, "dim": 48, "ffn_dim": 64, "freq_dim": 16,
    "text_dim": CONTEXT, "out_dim": 16, "num_heads": 2, "num_layers": 3, "qk_norm": True, "cross_attn_norm": True,
}  # fmt: skip
HIDREAM = {
    "patch_size": 2, "in_channels": 16, "out_channels": 16, "num_layers": 2, "num_single_layers": 2,
    "attention_head_dim": 16, "num_attention_heads": 2, "caption_channels": [CONTEXT, CONTEXT], "text_emb_dim": 8,
    "num_routed_experts": 2, "num_activated_experts": 1, "axes_dims_rope": [4, 6, 6], "max_resolution": [32, 32],
    "llama_layers": [0, 1, 1, 0],
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    """A family and what a test knows of its forward without asking the adapter.

    Attributes:
        config: name of ComfyUI's configuration.
        values: of the model.
        sites: number of a site, or None, for every attention of one forward, in the order in which they run.
        norm: name of the weight of the model's own norm of the text's K, by number of the site; "" for none.
        eps: of it.
        whole: it norms all heads together.
        start: where the picture begins: ``text`` after the text, 0, or ``end`` for the last tokens.
        five: latents have frames.
        pad: the tokens of picture and text are padded to a multiple of it.
        text: tokens of it as the model sees it.
        picture: tokens of a latent of 8x12.
    """

    config: str
    values: dict
    sites: tuple
    norm: object
    eps: float = 1e-6
    whole: bool = False
    start: str = "text"
    five: bool = False
    pad: int = 1
    text: int = TEXT
    picture: int = 24


def _flux_norm(site: int) -> str:
    return f"double_blocks.{site}.txt_attn.norm.key_norm." if site < 2 else f"single_blocks.{site - 2}.norm.key_norm."


def _hidream_norm(site: int) -> str:
    if site < 2:
        return f"double_stream_blocks.{site}.block.attn1.k_rms_norm_t."
    return f"single_stream_blocks.{site - 2}.block.attn1.k_rms_norm."


CROSS = (None, 0, None, 1, None, 2)  # self-attention, then cross-attention
CHROMA = {name: value for name, value in FLUX.items() if name not in ("vec_in_dim", "guidance_embed")}
CASES = {
    "Flux": Case("Flux", FLUX, (0, 1, 2, 3, 4), _flux_norm),
    "Flux 2": Case(
        "Flux2",
        FLUX | {"in_channels": 128, "out_channels": 128, "patch_size": 1, "vec_in_dim": None, "qkv_bias": False,
                "axes_dim": [4, 4, 4, 4], "global_modulation": True, "mlp_silu_act": True, "ops_bias": False,
                "theta": 2000, "guidance_embed": False, "txt_ids_dims": [3]},
        (0, 1, 2, 3, 4), _flux_norm, text=512, picture=96,
    ),
    "Chroma": Case(
        "Chroma", CHROMA | {"in_channels": 64, "out_channels": 64, "in_dim": 64, "out_dim": 32, "hidden_dim": 16,
                            "n_layers": 1, "vec_in_dim": 8},
        (0, 1, 2, 3, 4), _flux_norm,
    ),
    "SD3": Case("SD3", SD3, (0, 1, 2), None),
    "SD3.5": Case(
        "SD3", SD3 | {"qk_norm": "rms", "x_block_self_attn_layers": [0, 1]}, (0, None, 1, None, 2),
        "joint_blocks.{}.context_block.attn.ln_k.".format,
    ),
    "Qwen-Image": Case(
        "QwenImage",
        {"patch_size": 2, "in_channels": 64, "out_channels": 16, "num_layers": 3, "attention_head_dim": 16,
         "num_attention_heads": 2, "joint_attention_dim": CONTEXT, "axes_dims_rope": (4, 6, 6)},
        (0, 1, 2), "transformer_blocks.{}.attn.norm_added_k.".format, five=True,
    ),
    "Lumina 2": Case(
        "Lumina2", LUMINA | {"n_kv_heads": 2}, (None, None, 0, 1, 2), "layers.{}.attention.k_norm.".format, 1e-5,
        start="end",
    ),
    "Z-Image": Case(
        "ZImage",
        LUMINA | {"dim": 256, "axes_dims": [16, 24, 24], "pad_tokens_multiple": 8, "z_image_modulation": True,
                  "time_scale": 1000.0},
        (None, None, 0, 1, 2), "layers.{}.attention.k_norm.".format, 1e-5, start="end", pad=8,
    ),
    "Cosmos-Predict2": Case(
        "CosmosT2IPredict2", PREDICT2, CROSS, "blocks.{}.cross_attn.k_norm.".format, start="0", five=True
    ),
    "Anima": Case("Anima", PREDICT2, CROSS, "blocks.{}.cross_attn.k_norm.".format, start="0", five=True),
    "Wan": Case(
        "WAN21_T2V", WAN, CROSS, "blocks.{}.cross_attn.norm_k.".format, whole=True, start="0", five=True
    ),
    "Wan i2v": Case(
        "WAN21_I2V", WAN | {"model_type": "i2v", "in_dim": 36}, (None, None, 0, None, None, 1, None, None, 2),
        "blocks.{}.cross_attn.norm_k.".format, whole=True, start="0", five=True,
    ),
    "HiDream": Case("HiDream", HIDREAM, (0, 1, 2, 3), _hidream_norm, 1e-5, whole=True, start="0"),
}  # fmt: skip
if not hasattr(comfy.supported_models, "Anima") or importlib.util.find_spec("comfy.ldm.anima") is None:
    del CASES["Anima"]  # not in this version of ComfyUI


def transformer(family: str, dtype=torch.float32, cast=None, **values) -> comfy.model_patcher.ModelPatcher:
    case = CASES[family]
    values = case.values | values
    for params in (comfy.ldm.flux.model.FluxParams, comfy.ldm.chroma.model.ChromaParams):
        if params.__name__.startswith(case.config.rstrip("2")):  # their fields differ between versions
            known = {field.name for field in dataclasses.fields(params)}
            values = {name: value for name, value in values.items() if name in known}
    config_class = getattr(comfy.supported_models, case.config)
    config = config_class(config_class.unet_config | values)
    config.set_inference_dtype(dtype, cast)
    model = config.get_model({}, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(2)
    for name, weight in [*model.diffusion_model.named_parameters(), *model.diffusion_model.named_buffers()]:
        norm = "norm" in name or "ln_" in name
        if weight.is_floating_point() and weight.numel() and not name.startswith(("pos_embedder", "rope")):
            fan = weight[0].numel() if weight.ndim > 1 else 16
            weight.data = (torch.randn(weight.shape, generator=generator) * fan**-0.5 + norm).to(weight.dtype)
    model.diffusion_model.requires_grad_(False).eval()
    device = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)


def random_adapter(model: comfy.model_patcher.ModelPatcher, tokens: int = 2, seed: int = 3, **fields):
    """An adapter of random weights that fits ``model``."""
    generator = torch.Generator().manual_seed(seed)
    found = layers.sites(model.model.diffusion_model)

    def random(*shape):
        return torch.randn(*shape, generator=generator) / shape[-1] ** 0.5

    described = {"metrics": ({"name": "topiq_nr"},), "base_model": layers.family(found)} | fields
    proj = projection.QualityProjection(1, tokens, found[0].context_width)
    proj.load_state_dict({name: random(*value.shape, 1)[..., 0] for name, value in proj.state_dict().items()})
    weights = tuple(adapter.LayerWeights(*(random(site.width, site.context_width) for _ in range(2))) for site in found)
    return adapter.Adapter("random.safetensors", metadata.Metadata(**described), proj.requires_grad_(False), weights)


def conditioning(family: str, seed: int, tokens: int = TEXT, **options) -> list:
    """ComfyUI conditioning of random text embeddings."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator)

    more = {"pooled_output": random(1, 8), "guidance": 3.5}
    if family == "HiDream":
        more["conditioning_llama3"] = random(1, 2, 5, CONTEXT)
    if family == "Wan i2v":  # as many tokens as the text
        more["clip_vision_output"] = SimpleNamespace(penultimate_hidden_states=random(1, tokens, 1280))
    return [[random(1, tokens, CONTEXT), {**more, **options}]]


def latent(family: str, batch: int = 1, height: int = 8, width: int = 12, seed: int = 5, frames: int = 1) -> Tensor:
    case = CASES[family]
    channels = case.values.get("in_channels", 16) if family == "Flux 2" else 16
    shape = (batch, channels, frames, height, width) if case.five else (batch, channels, height, width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


SIGMA = 0.7
QUALITY = torch.tensor([[1.5]])
OVERRIDE = "optimized_attention_override"


def predict(model, family, cfg=4.0, options=None, **shape) -> Tensor:
    """One denoised prediction; ``options`` go to the positive conditioning."""
    positive = conditioning(family, 1, **(options or {}))
    negative = [] if cfg == 1.0 else conditioning(family, 2)
    return denoise_once(cfg_guider(model, positive, negative, cfg), latent(family, **shape), SIGMA)


class Reference:
    """ComfyUI's attention with the term of equation 3 at the picture's rows, by the number of the call alone.

    Args:
        sites: numbers of the sites, by call; None for those of the family.
        mask: ``[positions]`` of the picture.
        images: in the batch.
        previous: override that runs in place of ComfyUI's attention.
    """

    def __init__(
        self, family, model, adapter, tokens, strength=1.0, sites=None, mask=None, images=1, frames=1, previous=None
    ):
        self.case, self.adapter, self.strength = CASES[family], adapter, strength
        self.sites, self.mask, self.images = sites or self.case.sites, mask, images
        self.state = model.model.diffusion_model.state_dict()
        self.sides = (tokens.cond, tokens.uncond)
        self.picture, self.call, self.previous = self.case.picture * frames, 0, previous

    def __call__(self, func, q, k, v, heads, *args, **kwargs):
        run = func if self.previous is None else lambda *a, **b: self.previous(func, *a, **b)
        out = run(q, k, v, heads, *args, **kwargs)
        site = self.sites[self.call % len(self.sites)]
        self.call += 1
        if site is None:
            return out
        if not kwargs.get("skip_reshape"):
            q = q.unflatten(-1, (heads, -1)).transpose(1, 2)
        first = {"text": self.case.text, "0": 0}.get(self.case.start)
        if first is None:
            first = q.shape[2] - (self.picture + -self.picture % self.case.pad)
        layer = self.adapter.layers[site]
        for row in range(len(q)):
            side = kwargs["transformer_options"]["cond_or_uncond"][row // self.images]
            c = self.sides[side][row % self.images % len(self.sides[side])]
            keys, values = self.normed(c @ layer.key.T, site, heads), (c @ layer.value.T).unflatten(-1, (heads, -1))
            scores = torch.einsum("hnd,thd->hnt", q[row, :, first : first + self.picture], keys) / q.shape[-1] ** 0.5
            added = torch.einsum("hnt,thd->nhd", scores.softmax(-1), values).flatten(1)
            if self.mask is not None:
                added = added * self.mask[:, None]
            out[row, first : first + self.picture] += self.strength * added
        return out

    def normed(self, keys, site, heads):
        by_head = keys.unflatten(-1, (heads, -1))
        if self.case.norm is None:
            return by_head
        name = self.case.norm(site)
        scale = next(value for key, value in self.state.items() if key.startswith(name))
        part = keys if self.case.whole else by_head
        part = part * (part.square().mean(-1, keepdim=True) + self.case.eps).rsqrt() * scale
        return part.unflatten(-1, (heads, -1)) if self.case.whole else part
