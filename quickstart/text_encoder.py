"""A word-level text encoder behind ComfyUI's CLIP interface.

ComfyUI's own tokenizer and encoder base classes parse prompt weights, split long prompts into chunks and apply the
weights; this file only supplies the vocabulary and a small transformer.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import comfy.sd
import comfy.sd1_clip
import comfy.supported_models_base
import torch
from comfy.ldm.modules.attention import optimized_attention_for_device

from .world import WORDS, unknown_words, words

PAD, END, UNKNOWN = 0, 1, 2
VOCABULARY = {"<pad>": PAD, "<end>": END, "<unknown>": UNKNOWN, **{word: i for i, word in enumerate(WORDS, 3)}}
MAX_TOKENS = 24
WIDTH = 128
_CONFIG = {"width": WIDTH, "layers": 2, "heads": 4}
_NAME = "quickstart"
_EMBEDDING = re.compile(r"embedding:\S+")  # a file by its name, not words


class WordTokenizer:
    """Words of the caption grammar to numbers; every other word becomes the unknown token."""

    @classmethod
    def from_pretrained(cls, path: str | None) -> WordTokenizer:
        """ComfyUI's way to make a tokenizer; the vocabulary is part of the code, so there is nothing to read."""
        return cls()

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [VOCABULARY.get(word, UNKNOWN) for word in words(text)] + [END]}

    def get_vocab(self) -> dict[str, int]:
        return VOCABULARY


class _ChunkTokenizer(comfy.sd1_clip.SDTokenizer):
    def __init__(self, embedding_directory=None, tokenizer_data={}):  # noqa: B006 (ComfyUI's signature)
        super().__init__(
            tokenizer_path="",
            max_length=MAX_TOKENS,
            pad_with_end=False,
            embedding_directory=embedding_directory,
            embedding_size=WIDTH,
            embedding_key=_NAME,
            tokenizer_class=WordTokenizer,
            has_start_token=False,
            tokenizer_data=tokenizer_data,
        )


class Tokenizer(comfy.sd1_clip.SD1Tokenizer):
    """Prompt with weights to chunks of 24 (token, weight) pairs.

    Attributes:
        listener: is given the words of every prompt that the model never learnt; None for nobody.
    """

    listener: Callable[[list[str]], None] | None = None

    def __init__(self, embedding_directory=None, tokenizer_data={}):  # noqa: B006
        super().__init__(embedding_directory, tokenizer_data, name=_NAME, tokenizer=_ChunkTokenizer)

    def tokenize_with_weights(self, text: str, *args, **kwargs) -> dict:
        if self.listener is not None:
            self.listener(unknown_words(_EMBEDDING.sub(" ", text)))
        return super().tokenize_with_weights(text, *args, **kwargs)


class _Block(torch.nn.Module):
    """Pre-norm transformer block without causal mask."""

    def __init__(self, width: int, heads: int, dtype, device, operations):
        super().__init__()
        place = {"dtype": dtype, "device": device}
        self.heads = heads
        self.norm1 = operations.LayerNorm(width, **place)
        self.q, self.k, self.v, self.out = (operations.Linear(width, width, **place) for _ in range(4))
        self.norm2 = operations.LayerNorm(width, **place)
        self.fc1 = operations.Linear(width, 4 * width, **place)
        self.fc2 = operations.Linear(4 * width, width, **place)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        attention = optimized_attention_for_device(x.device, small_input=True)
        y = self.norm1(x)
        x = x + self.out(attention(self.q(y), self.k(y), self.v(y), self.heads))
        return x + self.fc2(torch.nn.functional.gelu(self.fc1(self.norm2(x))))


class PromptTransformer(torch.nn.Module):
    """Token embeddings to hidden states ``[batch, tokens, 128]``, with the interface that ``SDClipModel`` calls."""

    def __init__(self, config: dict, dtype, device, operations):
        super().__init__()
        width, self.num_layers = config["width"], config["layers"]
        self.dtype = dtype
        self.tokens = operations.Embedding(len(VOCABULARY), width, dtype=dtype, device=device)
        self.positions = operations.Embedding(MAX_TOKENS, width, dtype=dtype, device=device)
        self.blocks = torch.nn.ModuleList(
            _Block(width, config["heads"], dtype, device, operations) for _ in range(self.num_layers)
        )
        self.norm = operations.LayerNorm(width, dtype=dtype, device=device)

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.tokens

    def forward(
        self, tokens, attention_mask=None, embeds=None, num_tokens=None, intermediate_output=None,
        final_layer_norm_intermediate=True, dtype=torch.float32, embeds_info=(),
    ):  # fmt: skip
        """``embeds`` ``[batch, tokens, 128]`` -> (states, intermediate states or None, their mean over the words)."""
        length = embeds.shape[1]
        x = embeds + self.positions(torch.arange(length, device=embeds.device) % MAX_TOKENS, out_dtype=dtype)
        intermediate = None
        for i, block in enumerate(self.blocks):
            x = block(x)
            if intermediate_output is not None and i == intermediate_output % self.num_layers:
                intermediate = self.norm(x) if final_layer_norm_intermediate else x
        x = self.norm(x)
        is_word = torch.arange(length, device=x.device) < torch.as_tensor(num_tokens, device=x.device)[:, None]
        pooled = (x * is_word[..., None]).sum(1) / is_word.sum(1, keepdim=True)
        return x, intermediate, pooled


class _ChunkEncoder(comfy.sd1_clip.SDClipModel):
    def __init__(self, device="cpu", dtype=None, model_options={}):  # noqa: B006
        super().__init__(
            device=device,
            dtype=dtype,
            max_length=MAX_TOKENS,
            textmodel_json_config=dict(_CONFIG),
            model_class=PromptTransformer,
            special_tokens={"end": END, "pad": PAD},
            model_options=model_options,
        )


class PromptEncoder(comfy.sd1_clip.SD1ClipModel):
    """The encoder that ``comfy.sd.CLIP`` holds."""

    def __init__(self, device="cpu", dtype=None, model_options={}):  # noqa: B006
        super().__init__(device, dtype, model_options, name=_NAME, clip_model=_ChunkEncoder)

    @property
    def chunk_encoder(self) -> comfy.sd1_clip.SDClipModel:
        """Encodes lists of 24 token numbers: ``chunk_encoder(tokens)[0]`` is ``[batch, 24, 128]``."""
        return getattr(self, self.clip)


def make_clip(embedding_directory: list[str] | None = None) -> comfy.sd.CLIP:
    """ComfyUI's CLIP object with uninitialised weights."""
    target = comfy.supported_models_base.ClipTarget(Tokenizer, PromptEncoder)
    return comfy.sd.CLIP(target, embedding_directory, model_options={"dtype": torch.float32})


def tokenize(captions: list[str]) -> torch.Tensor:
    """Captions as token numbers ``[N, 24]``, for training; longer ones are cut."""
    rows = torch.full((len(captions), MAX_TOKENS), PAD)
    for row, text in zip(rows, captions, strict=True):
        numbers = [*WordTokenizer()(text)["input_ids"][:-1][: MAX_TOKENS - 1], END]
        row[: len(numbers)] = torch.tensor(numbers)
    return rows


def encode(transformer: PromptTransformer, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What :attr:`PromptEncoder.chunk_encoder` gives, all on the device of ``tokens``.

    Returns:
        Hidden states ``[N, 24, 128]`` and their means over the words ``[N, 128]``.
    """
    embeddings = transformer.tokens(tokens, out_dtype=torch.float32)
    states, _, pooled = transformer(None, embeds=embeddings, num_tokens=(tokens != PAD).sum(1))
    return states.float(), pooled.float()
