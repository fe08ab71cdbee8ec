"""The attention layers of ComfyUI's transformers as sites.

No class of them has a replace patch at its attention, and most do not say which block runs. So a hook at the block's
own module, for the time of a forward, tells its attention which site it is, through the ``transformer_options`` that
the block hands to its attention (:mod:`.transformer_forward`). What a family of models has of its own is a function in
:mod:`.transformer_families` that lists the sites.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .site import Site

SITES = "iqa_adapter_sites"  # key of transformer_options: by module, its site and the attention to put there
NOTES = "iqa_adapter_notes"  # key of transformer_options: what sites of a forward tell later ones
PLACE = "iqa_adapter_place"  # key of transformer_options inside a block: the :class:`Place` of its site
Locate = Callable[[int, Sequence, dict, dict], tuple[int, int]]


@dataclass(frozen=True)
class Place:
    """Where the picture is among the tokens of a site, in one forward.

    Attributes:
        rows: of q.
        start: tokens before the picture's first.
        grid: frames, rows and columns of the picture's tokens.
        queries: tokens of q in the attention that is the site; a block may have others.
        passed: attentions with as many that come before it.
    """

    rows: int
    start: int
    grid: tuple[int, int, int]
    queries: int
    passed: int

    @property
    def picture(self) -> slice:
        """The picture's tokens; those of text and reference latents stay as they are."""
        frames, height, width = self.grid
        return slice(self.start, self.start + frames * height * width)


@dataclass(frozen=True)
class Weights:
    """Rows of a linear layer.

    Attributes:
        layer: with bias or without, in any precision.
        rows: first and one after the last, of a part of a fused projection; None for all.
        repeats: heads of q that share one of k and v (grouped attention).
        head_width: of such a head.
    """

    layer: nn.Linear = field(repr=False)
    rows: tuple[int, int] | None = None
    repeats: int = 1
    head_width: int = 1

    def read(self) -> Tensor:
        """``[C, D]``"""
        weight = _dense(self.layer)[slice(*(self.rows or (None,)))]
        if self.repeats == 1:
            return weight
        return weight.unflatten(0, (-1, self.head_width)).repeat_interleave(self.repeats, 0).flatten(0, 1)


def _dense(layer: nn.Linear) -> Tensor:
    """Weight of a linear layer as numbers.

    That of a quantised one (fp8 with a scale, GGUF) is what it does to unit vectors.
    """
    weight = layer.weight
    if type(weight) in (Tensor, nn.Parameter) and weight.is_floating_point() and weight.itemsize > 1:
        return weight
    device = weight.device if weight.device.type != "meta" else torch.device("cpu")
    ones = torch.eye(layer.in_features, device=device, dtype=torch.bfloat16 if device.type != "cpu" else torch.float32)
    with torch.no_grad():
        return (layer(ones) - layer(torch.zeros_like(ones[:1]))).T


@dataclass(frozen=True)
class TransformerSite(Site):
    """One attention of a transformer, in which the picture's tokens attend to quality tokens, too.

    Attributes:
        family: of the model.
        kind: of block, ``double``, ``single``, ``joint``, ``layer`` or ``block``.
        number: of the block among those of its kind.
        module: whose forward is the site; it is called with ``transformer_options``.
        projections: of the text's K and V.
        norm: of the model's own K, by head or over the whole width; None where it has none.
        patch: frames, rows and columns of the latent that are one token.
        locate: tokens of the picture, arguments of the module's forward (by position, by name), options -> start and
            queries of :class:`Place`.
        refused: arguments of a forward with which the place is not known, and why.
        passed: see :class:`Place`.
    """

    family: str
    kind: str
    number: int
    module: nn.Module = field(repr=False, compare=False)
    heads: int
    width: int
    context_width: int
    text_width: int
    projections: tuple[Weights, Weights] = field(repr=False, compare=False)
    norm: nn.Module | None = field(repr=False, compare=False)
    patch: tuple[int, int, int]
    locate: Locate = field(repr=False, compare=False)
    refused: tuple[tuple[str, str], ...] = ()
    passed: int = 0

    @property
    def name(self) -> str:
        return f"{self.kind}.{self.number}"

    @property
    def group(self) -> str:
        return self.name

    def initial_weights(self) -> tuple[Tensor, Tensor]:
        key, value = (weights.read() for weights in self.projections)
        return key, value

    def normed(self, keys: Tensor) -> Tensor:
        if self.norm is None:
            return keys
        by_head = keys.unflatten(-1, (self.heads, -1)) if _norm_width(self.norm) != self.width else keys
        return self.norm(by_head).reshape(keys.shape).to(keys.dtype)

    def install(self, options: dict, attention: Callable[[Callable | None], Callable]) -> None:
        options.setdefault(SITES, {})[self.module] = (self, attention(None))

    def place(self, latent: Sequence[int], arguments: Sequence, named: dict, options: dict) -> Place:
        """Where the picture is in a forward.

        Args:
            latent: shape of the latent that the model was given.
            arguments, named: of the module's forward.

        Raises:
            ValueError: there are fewer tokens than the picture has.
        """
        frames, height, width = ((1, *latent[2:]) if len(latent) == 4 else latent[2:])[-3:]
        sizes = zip((frames, height, width), self.patch, strict=True)
        frames, height, width = (-(-size // patch) for size, patch in sizes)
        tokens = frames * height * width
        start, queries = self.locate(tokens, arguments, named, options)
        if start < 0 or start + tokens > queries:
            raise ValueError(
                f"{self.name} of {self.family} sees {queries} tokens, {start} of them before the picture, where "
                f"IQA-Adapter looks for its {tokens}. A node that leaves tokens out or puts others in is the likely "
                "cause; use the model without it, or without the adapter."
            )
        return Place(latent[0], start, (frames, height, width), queries, self.passed)

    def rows(self, extra_options: dict) -> int:
        return extra_options[PLACE].rows

    def size(self, extra_options: dict) -> tuple[int, int]:
        return extra_options[PLACE].grid[1:]

    def frames(self, extra_options: dict) -> int:
        return extra_options[PLACE].grid[0]


def _norm_width(norm: nn.Module) -> int:
    return next(norm.parameters()).shape[-1]
