"""The sites of a model: where it can attend to quality tokens, in the order in which adapter files store them.

Everything that depends on an architecture sits behind :class:`.site.Site`: UNets are :mod:`.unet_sites`, transformers
:mod:`.transformer_families`; another family of transformers is one function and a row there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from .site import Site
from .transformer_families import NAMES, transformer_sites
from .unet_sites import unet_sites

FAMILIES = {  # (width of the context, number of sites) -> family
    (768, 16): "SD1.5",
    (1024, 16): "SD2",
    (2048, 70): "SDXL",
    (1280, 42): "SDXL refiner",
}
FINDERS: tuple[Callable[[nn.Module], tuple[Site, ...] | None], ...] = (unet_sites, transformer_sites)
NO_HOOK = {"PixArtMS": "PixArt", "PixArt": "PixArt", "HunYuanDiT": "Hunyuan-DiT"}


def sites(model: nn.Module) -> tuple[Site, ...]:
    """The sites of a diffusion model in the order in which adapter files store them.

    Raises:
        ValueError: adapters cannot work with this model; the message says why.
    """
    for finder in FINDERS:
        if (found := finder(model)) is not None:
            return found
    if (name := NO_HOOK.get(type(model).__name__)) is not None:
        raise ValueError(
            f"IQA-Adapters do not work with {name}: ComfyUI lets nothing reach the attention of this model. Use SD1.5, "
            f"SD2, SDXL or one of {', '.join(NAMES)}."
        )
    raise ValueError(
        f"IQA-Adapters do not work with the connected model ({type(model).__name__}). They work with the UNets of "
        f"SD1.5, SD2, SDXL and their relatives, and with {', '.join(NAMES)}."
    )


def family(found: Sequence[Site]) -> str:
    """The family of models with these sites, or a description by numbers where it has no name."""
    return family_name(found[0].context_width, len(found), found[0].family)


def family_name(context_width: int, count: int, transformer: str = "") -> str:
    """Like :func:`family`, from the two numbers that an adapter file shows, too.

    Args:
        transformer: family of transformers; "" for a UNet.
    """
    if transformer:
        return f"{transformer} ({count} attention layers of width {context_width})"
    described = f"{count} cross-attention layers of context width {context_width}"
    name = FAMILIES.get((context_width, count))
    return f"{name} ({described})" if name else f"a UNet with {described}"


def transformer_family(base_model: str) -> str:
    """The family of transformers that an adapter's ``base_model`` names; "" for UNets and unknown models."""
    name = base_model.partition(" (")[0]
    return name if name in NAMES else ""


def check_fit(
    adapter_name: str, shapes: Sequence[tuple[int, int]], found: Sequence[Site], base_model: str = ""
) -> None:
    """Refuse an adapter that was made for another model.

    Args:
        shapes: ``(C, D)`` of the adapter's weights, in order.
        found: sites of the connected model.
        base_model: of the adapter's metadata; some families have the same number of layers and the same widths.

    Raises:
        ValueError: another family, number of sites or other widths; the message names both models.
    """
    wanted = [(site.width, site.context_width) for site in found]
    transformer = transformer_family(base_model)
    if list(shapes) == wanted and transformer in ("", found[0].family):
        return
    made_for, connected = family_name(shapes[0][1], len(shapes), transformer), family(found)
    if made_for != connected:
        raise ValueError(
            f"{adapter_name} was made for {made_for}, but the connected model is {connected}. Load an adapter of the "
            "model's family, or a checkpoint of the adapter's."
        )
    number = next(i for i, (has, needs) in enumerate(zip(shapes, wanted, strict=True)) if has != needs)
    raise ValueError(
        f"{adapter_name} does not fit the connected model: its layer {2 * number + 1} has the shape {shapes[number]}, "
        f"the model's {found[number].name} needs {wanted[number]}. It was made for another variant of this model."
    )
