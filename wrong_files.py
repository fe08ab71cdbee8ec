"""What a file is that is none of tensors, told by its first bytes; what tensors are for, told by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .torch_pickle import Refused, damaged


def something_else(beginning: bytes) -> Refused:
    """Told by the first bytes."""
    text = beginning.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not beginning:
        return damaged("it is empty")
    if text.startswith(b"version https://git-lfs"):
        return Refused("is a Git LFS pointer, not the file itself. Fetch that with `git lfs pull`, or from its page.")
    for what, marks in _MARKS.items():
        if text.lower().startswith(marks) or beginning.startswith(marks):
            return Refused(f"is {what}, no file of tensors. Get the right file of that name.")
    return damaged("it is no file of tensors, or its beginning is broken")


_MARKS = {
    "a web page (HTML), perhaps the error page of a server": (b"<!doctype", b"<html", b"<head", b"<!--", b"<?xml"),
    "JSON text": (b"{", b"["),
    "a pickle of torch, whatever its name says": (b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5"),
    "a zip archive, perhaps a .bin or .pth of torch": (b"PK\3\4", b"PK\5\6"),
    "a compressed archive": (b"\x1f\x8b", b"bzh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd"),
    "a picture": (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF"),
    "a GGUF model": (b"GGUF",),
    "a MATLAB file": (b"matlab",),
    "an HDF5 file": (b"\x89HDF",),
    "a PDF": (b"%pdf",),
}


def looks_like(names: Iterable[str]) -> str:
    """What tensors of these names are; empty where that is not plain."""
    joined = "\n".join(names)
    return next((what for what, pattern in _PATTERNS.items() if re.search(pattern, joined, re.MULTILINE)), "")


_PATTERNS = {
    "a LoRA": r"lora_(up|down|[AB])\b|\.(hada|lokr)_w|\.lora\.|\.oft_blocks$",
    "a ControlNet": r"^control_model\.|^controlnet_|\bzero_convs\.|^input_hint_block\.",
    "an IP-Adapter": r"^image_proj\.(latents|layers\.|perceiver|proj\.3\.)|^image_proj_model\.|to_k_ip\b",
    "a T2I-Adapter": r"^(adapter\.)?body\.\d+\.(block|resnets)",
    "a checkpoint": r"^(model\.diffusion_model|first_stage_model|cond_stage_model|conditioner)\.",
    "a diffusion model without text encoder and VAE": r"^(down_blocks|input_blocks|double_blocks|joint_blocks)\.",
    "a VAE": r"^(encoder|decoder)\.(conv_in|mid|down_blocks)\b",
    "a text encoder": r"^(transformer\.)?text_model\.|^(shared|encoder\.block)\.",
    "an embedding": r"^(emb_params|string_to_param|clip_[gl])\b",
}
