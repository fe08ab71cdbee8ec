"""Do the activations of IQA models tell distortions apart and not contents, as references need it?"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

import numpy as np
from pydantic import Field

from ...figures.plots import COLOURS, GRID, chart
from ...iqa_models.loading import load_iqa_model
from ...pictures.photos import photo_files
from ..comparing import Wanted
from ..experiment import Experiment, Result, Table
from ..plan import Settings
from ..separability import Separability, measure


class Features(Experiment):
    """The same distortions on patches of twelve photographs, read from activations by the nearest centroid."""

    title = "Features: distortion or content?"
    question = "Do activations of IQA models tell distortions of unseen photographs, and not the photographs?"

    class Options(Settings):
        """Attributes:
        models: IQA models; empty for those of the plan's reference adapters.
        layer, pooling: empty for the catalogue's.
        side: of the patches in pixels.
        patches: of each photograph.
        """

        models: tuple[str, ...] = ()
        layer: str = ""
        pooling: str = ""
        side: Annotated[int, Field(ge=16, le=300)] = 224
        patches: Annotated[int, Field(ge=1, le=1000)] = 4

    def why_not(self) -> str:
        return "" if self._models else "the plan names no IQA model for it and has no reference adapter"

    def wanted(self) -> Wanted:
        return []

    def result(self) -> Result:
        found, rows, numbers, said = self._measured, [], {}, []
        table = []
        for name, (source, result) in found.items():
            shares = {
                "distortion of unseen photographs": (result.distortion, result.distortion_chance),
                "photograph under unseen distortions": (result.content, result.content_chance),
            }
            for what, (share, chance) in shares.items():
                table.append([source, what, f"{share:.1%}", f"{chance:.1%}"])
                facts = {"group": source, "patches": self.options.patches * len(photo_files()), "picture": ""}
                rows += [
                    {**facts, "metric": what, "value": share},
                    {**facts, "metric": f"{what}, chance", "value": chance},
                ]
            numbers |= {f"{name}/distortion": result.distortion, f"{name}/content": result.content}
            said.append(
                f"Activations of {name} name the distortion of unseen photographs for {result.distortion:.1%} (chance "
                f"{result.distortion_chance:.1%}) and the photograph under unseen distortions for {result.content:.1%} "
                f"(chance {result.content_chance:.1%})"
            )
        return Result(
            f"{'. '.join(said)}.", [Table(["activations", "what is named", "recognised", "by chance"], table)],
            self._figure(found), "Share of patches that are recognised; black lines are chance. Good references have a "
            "high first bar and a low second one.", "", numbers, rows,
        )  # fmt: skip

    @property
    def _models(self) -> tuple[str, ...]:
        of_adapters = (adapter.metadata.iqa_model for adapter in self.session.reference_adapters)
        return self.options.models or tuple(dict.fromkeys(of_adapters))

    @cached_property
    def _measured(self) -> dict[str, tuple[str, Separability]]:
        chosen = self.options
        layer = (chosen.layer, chosen.pooling, chosen.side, chosen.patches)
        return {name: measure(load_iqa_model(name), *layer) for name in self._models}

    def _figure(self, found: dict[str, tuple[str, Separability]]) -> bytes:
        def draw(axes) -> None:
            places = np.arange(len(found))
            kinds = [("distortion", "distortion_chance", -0.2), ("content", "content_chance", 0.2)]
            for number, (what, by_chance, shift) in enumerate(kinds):
                shares = [100 * getattr(result, what) for _, result in found.values()]
                chances = [100 * getattr(result, by_chance) for _, result in found.values()]
                axes[0].bar(places + shift, shares, 0.38, color=COLOURS[number], label=what)
                axes[0].hlines(chances, places + shift - 0.19, places + shift + 0.19, color="black", linewidth=1.5)
            axes[0].set_xticks(places, [*found])
            axes[0].set_ylabel("recognised, %")
            axes[0].grid(axis="y", **GRID)
            axes[0].legend(fontsize=9)

        return chart(draw, size=(2.5 + 1.5 * len(found), 3.2))
