"""What other packs do to rows, keys and wrappers around cross-attention, in a few lines each."""

from __future__ import annotations

import copy
import itertools

import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.ldm.modules.diffusionmodules.openaimodel import forward_timestep_embed, timestep_embedding
from comfy.patcher_extension import WrappersMP


class AddedAttention:
    """IPAdapter Plus: a replace patch to which later nodes of the same kind add themselves."""

    def __init__(self, callback, **kwargs):
        self.callbacks = []
        self.add(callback, **kwargs)

    def add(self, callback, **kwargs):
        self.callbacks.append((callback, kwargs))

    def __call__(self, q, k, v, extra_options):
        out = optimized_attention(q, k, v, extra_options["n_heads"])
        for callback, kwargs in self.callbacks:
            out = out + callback(out, q, k, v, extra_options, **kwargs)
        return out


def ip_adapter_keys(sdxl: bool) -> list[tuple]:
    """IPAdapter Plus's own list; its middle block never fires in SD1.5."""
    if not sdxl:
        inputs, outputs = (1, 2, 4, 5, 7, 8), (3, 4, 5, 6, 7, 8, 9, 10, 11)
        return [*(("input", n) for n in inputs), *(("output", n) for n in outputs), ("middle", 1)]
    depths = {("input", 4): 2, ("input", 5): 2, ("input", 7): 10, ("input", 8): 10,
              ("output", 0): 10, ("output", 1): 10, ("output", 2): 10,
              ("output", 3): 2, ("output", 4): 2, ("output", 5): 2, ("middle", 1): 10}  # fmt: skip
    return [(*block, index) for block, depth in depths.items() for index in range(depth)]


def ip_adapter(model, sdxl: bool = False, weight: float = 0.3):
    """Patch a clone as IPAdapter Plus does: add to what is under exactly its key, else put in its own."""
    model = model.clone()
    for key in ip_adapter_keys(sdxl):
        options = model.model_options["transformer_options"] = dict(model.model_options["transformer_options"])
        replace = options["patches_replace"] = dict(options.get("patches_replace", {}))
        attention = replace["attn2"] = dict(replace.get("attn2", {}))
        if key in attention:
            attention[key].add(_picture_attention, weight=weight, sigma_start=1e9, sigma_end=0.0)
        else:
            attention[key] = AddedAttention(_picture_attention, weight=weight, sigma_start=1e9, sigma_end=0.0)
    return model


def _picture_attention(out, q, k, v, extra_options, weight, sigma_start, sigma_end):
    rows = len(q) // len(extra_options["cond_or_uncond"])
    shares = torch.tensor([1.0 if c == 0 else 0.1 for c in extra_options["cond_or_uncond"]]).repeat_interleave(rows)
    return (
        weight * shares[:, None, None] * optimized_attention(q, k.roll(1, 1) + 0.5, v.flip(1), extra_options["n_heads"])
    )


def overwriting_attention(model, keys):
    """PLADIS, DenseDiffusion, ComfyCouple: whatever is under the key goes."""
    model = model.clone()
    for key in keys:
        model.set_model_attn2_replace(lambda q, k, v, extra: 1.5 * optimized_attention(q, k, v, extra["n_heads"]), *key)
    return model


def windows(model, length: int, overlap: int):
    """AnimateDiff-Evolved: the batch is sampled window by window; the options of all windows are one dict."""
    model = model.clone()

    def cut(executor, base, conds, x, timestep, model_options):
        options = dict(model_options["transformer_options"])
        options["ad_params"] = {"full_length": len(x), "context_length": length, "sub_idxs": None}
        model_options = {**model_options, "transformer_options": options}
        sums, counts = [torch.zeros_like(x) for _ in conds], torch.zeros(len(x), 1, 1, 1)
        starts = range(0, len(x) - overlap, length - overlap)
        for start in starts:
            chosen = [number % len(x) for number in range(start, start + length)]
            options["ad_params"]["sub_idxs"] = chosen
            inner = [[dict(cond) for cond in each] for each in conds]
            for number, part in enumerate(executor(base, inner, x[chosen], timestep[chosen], model_options)):
                sums[number].index_add_(0, torch.tensor(chosen), part)
            counts.index_add_(0, torch.tensor(chosen), torch.ones(length, 1, 1, 1))
        return [total / counts for total in sums]

    model.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "ADE", cut)
    return model


def tiles(model, side: int, at_once: int, roll: int = 0):
    """Tiled Diffusion: tiles x conditionings x images in one forward; nothing says where the tiles lie.

    ``roll`` moves the picture over its edge first, as SpotDiffusion does.
    """
    model = model.clone()

    def sample_tiles(apply_model, args):
        x, timestep, c = args["input"].roll((roll, roll), (-2, -1)), args["timestep"], args["c"]
        corners = list(itertools.product(range(0, x.shape[-2], side), range(0, x.shape[-1], side)))
        out = torch.zeros_like(x)
        for first in range(0, len(corners), at_once):
            group = corners[first : first + at_once]
            parts = torch.cat([x[..., top : top + side, left : left + side] for top, left in group])
            repeated = {
                name: value.repeat(len(group), *[1] * (value.ndim - 1)) if torch.is_tensor(value) else value
                for name, value in c.items()
            }
            result = apply_model(parts, timestep.repeat(len(group)), **repeated)
            for (top, left), part in zip(group, result.chunk(len(group)), strict=True):
                out[..., top : top + side, left : left + side] = part
        return out.roll((-roll, -roll), (-2, -1))

    model.set_model_unet_function_wrapper(sample_tiles)
    return model


def couple(model, regions: int, hint: str = ""):
    """Attention couples of cgem156 and, with a hint, of ppm: the conditional rows are repeated, one region each.

    With the hint ``cond_or_uncond`` ComfyUI's own list grows in the layer and shrinks again, as Krita's nodes have it.
    """
    model = model.clone()
    before: list[int] = []

    def repeat(q, k, v, extra_options):
        chunks = extra_options["cond_or_uncond"]
        parts, texts, blocks = [], [], []
        for position, rows, text in zip(chunks, q.chunk(len(chunks)), k.chunk(len(chunks)), strict=True):
            count = 1 if position == 1 else regions
            parts.append(rows.repeat(count, 1, 1))
            texts.append(torch.cat([text.roll(region, 1) for region in range(count)]))
            blocks += [int(position == 1)] * count
        if hint == "cond_or_uncond":
            before[:] = chunks
            chunks[:] = [position for position in chunks for _ in range(1 if position == 1 else regions)]
        elif hint:
            extra_options[hint] = blocks
        return torch.cat(parts), torch.cat(texts), torch.cat(texts)

    def join(out, extra_options):
        if hint == "cond_or_uncond":
            extra_options["cond_or_uncond"][:] = before
        chunks, parts, start = extra_options["cond_or_uncond"], [], 0
        rows = len(out) // sum(1 if position == 1 else regions for position in chunks)
        for position in chunks:
            count = 1 if position == 1 else regions
            parts.append(out[start : start + count * rows].unflatten(0, (count, rows)).mean(0))
            start += count * rows
        return torch.cat(parts)

    model.set_model_attn2_patch(repeat)
    model.set_model_attn2_output_patch(join)
    return model


def own_walk(model, leave_out: bool = False):
    """DeepCache: walks the blocks itself, so that no wrapper of a forward runs; with ``leave_out`` no patch either."""
    model = model.clone()
    base = model.model
    unet = base.diffusion_model

    def walk(_apply_model, args):
        x, timestep, c = args["input"], args["timestep"], args["c"]
        options, context = c["transformer_options"], c["c_crossattn"]
        if leave_out:
            options = {**options, "patches_replace": {}}
        options["original_shape"], options["current_index"] = list(x.shape), 0
        steps = timestep_embedding(base.model_sampling.timestep(timestep).float(), unet.model_channels)
        embedded, h, skipped = unet.time_embed(steps), base.model_sampling.calculate_input(timestep, x), []
        for number, block in enumerate(unet.input_blocks):
            options["block"] = ("input", number)
            h = forward_timestep_embed(block, h, embedded, context, options)
            skipped.append(h)
        options["block"] = ("middle", 0)
        h = forward_timestep_embed(unet.middle_block, h, embedded, context, options)
        for number, block in enumerate(unet.output_blocks):
            options["block"] = ("output", number)
            h = torch.cat([h, skipped.pop()], 1)
            shape = skipped[-1].shape if skipped else None
            h = forward_timestep_embed(block, h, embedded, context, options, shape)
        return base.model_sampling.calculate_denoised(timestep, unet.out(h).float(), x)

    model.set_model_unet_function_wrapper(walk)
    return model


def copied(conditioning: list) -> list:
    """Packs that change a conditioning copy it whole first."""
    return copy.deepcopy(conditioning)
