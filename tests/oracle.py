"""diffusers' UNet with its own IP-Adapter processors, as the answer to what ComfyUI's patched UNet must compute."""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers.models.attention_processor import AttnProcessor2_0, IPAdapterAttnProcessor2_0

TOLERANCE = 1e-4  # of the output's standard deviation, in float32


def install_processors(unet, adapter, scale: float = 1.0) -> None:
    """Put the adapter's weights into diffusers' processors, in diffusers' own order."""
    weights = iter(adapter.layers)
    processors = {}
    for name in unet.attn_processors:
        if name.endswith("attn1.processor"):
            processors[name] = AttnProcessor2_0()
            continue
        layer = next(weights)
        processor = IPAdapterAttnProcessor2_0(len(layer.key), adapter.width, num_tokens=(adapter.tokens,), scale=scale)
        processor.to_k_ip[0].weight.data = layer.key
        processor.to_v_ip[0].weight.data = layer.value
        processors[name] = processor
    assert next(weights, None) is None, "the adapter has more layers than the diffusers UNet"
    unet.set_attn_processor(processors)


def output(unet, call: dict, tokens: torch.Tensor) -> torch.Tensor:
    """The inputs of a recorded ComfyUI call through diffusers, with ``tokens`` ``[rows, T, D]``."""
    call = {key: value.float() if isinstance(value, torch.Tensor) else value for key, value in call.items()}
    added, residuals = None, {}
    if call["y"] is not None:  # SDXL: pooled text, then the embedded sizes, which diffusers would embed itself
        unet.add_time_proj = torch.nn.Identity()
        added = {"text_embeds": call["y"][:, :1280], "time_ids": call["y"][:, 1280:]}
    if call["control"] is not None:
        residuals["down_block_additional_residuals"] = call["control"]["output"]
        residuals["mid_block_additional_residual"] = call["control"]["middle"][0]
    hidden = (call["context"], [tokens[:, None]])
    with torch.no_grad():
        return unet(call["x"], call["timesteps"], hidden, added_cond_kwargs=added, **residuals).sample


def largest_difference(unet, record, tokens_of_row: Callable[[dict, int], torch.Tensor]) -> float:
    """Largest difference over all recorded calls, in standard deviations of the expected output.

    Args:
        tokens_of_row: recorded call and row number -> the quality tokens ``[T, D]`` that this row should see.
    """
    worst = 0.0
    for call, actual in zip(record.inputs, record.outputs, strict=True):
        tokens = torch.stack([tokens_of_row(call, row) for row in range(len(call["x"]))])
        expected = output(unet, call, tokens)
        worst = max(worst, ((actual.float() - expected).abs().max() / expected.std()).item())
    return worst
