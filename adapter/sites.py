"""The sites of a model: where it can attend to quality tokens, in the order in which adapter files store them.

Everything that depends on an architecture sits behind :class:`.site.Site`; another architecture is one file with a
subclass, and a row in ``FINDERS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from .site import Site
from .unet_sites import unet_sites

FAMILIES = {  # (width of the context, number of sites) -> family
    (768, 16): "SD1.5",
    (1024, 16): "SD2",
    (2048, 70): "SDXL",
    (1280, 42): "SDXL refiner",
}
FINDERS: tuple[Callable[[nn.Module], tuple[Site, ...] | None], ...] = (unet_sites,)


def sites(model: nn.Module) -> tuple[Site, ...]:
    """The sites of a diffusion model in the order in which adapter files store them.

    Raises:
        ValueError: adapters cannot work with this model; the message says why.
    """
    for finder in FINDERS:
        if (found := finder(model)) is not None:
            return found
    raise ValueError(
        f"The connected model ({type(model).__name__}) is not a UNet with cross-attention. IQA-Adapters work with "
        "SD1.5, SD2, SDXL and their relatives, not with transformers such as Flux or SD3."
    )


def family(found: Sequence[Site]) -> str:
    """The family of models with these sites, or a description by numbers where it has no name."""
    return family_name(found[0].context_width, len(found))


def family_name(context_width: int, count: int) -> str:
    """Like :func:`family`, from the two numbers that an adapter file shows, too."""
    described = f"{count} cross-attention layers of context width {context_width}"
    name = FAMILIES.get((context_width, count))
    return f"{name} ({described})" if name else f"a UNet with {described}"


def check_fit(adapter_name: str, shapes: Sequence[tuple[int, int]], found: Sequence[Site]) -> None:
    """Refuse an adapter that was made for another model.

    Args:
        shapes: ``(C, D)`` of the adapter's weights, in order.
        found: sites of the connected model.

    Raises:
        ValueError: another number of sites or other widths; the message names both models.
    """
    wanted = [(site.width, site.context_width) for site in found]
    if list(shapes) == wanted:
        return
    made_for, connected = family_name(shapes[0][1], len(shapes)), family(found)
    if made_for != connected:
        raise ValueError(
            f"{adapter_name} was made for {made_for}, but the connected model is {connected}. Load an adapter of the "
            "model's family, or a checkpoint of the adapter's."
        )
    number = next(i for i, (has, needs) in enumerate(zip(shapes, wanted, strict=True)) if has != needs)
    raise ValueError(
        f"{adapter_name} does not fit the connected model: its layer {2 * number + 1} has the shape {shapes[number]}, "
        f"the model's {found[number].name} needs {wanted[number]}. It was made for another pruned variant."
    )
