"""The companion: quality tokens during base training, which are dropped afterwards.

Captions of the web often say how good a picture is, and large models learn from them that a token can set the quality.
The quickstart's captions never do. In their place, the cross-attention of half of the training pictures sees tokens
made from the kind, the severity and the direction of the picture's distortion. So the layers of the frozen model can
respond to an adapter's tokens later; which tokens ask for what, each adapter has to learn anew.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...adapter.keys_values import by_site
from ...adapter.sites import sites
from ...pictures.distortions import KINDS
from ...training.objective import KEYS_VALUES, training_options
from ...training.settings import TrainingSettings
from ...training.trainable import TrainableAdapter

# Of a distortion's direction cosine and sine are told, of the angle times this: motion forth and back is the same.
TURNS = {"motion_blur": 2, "colour_shift": 1}
COMPANION_WEIGHTS = "companion.safetensors"
QUALITY_WIDTH = len(KINDS) + 2 * len(TURNS)


class Companion(nn.Module):
    """Decoupled cross-attention to two tokens that say how a picture is distorted.

    Args:
        unet: a ComfyUI UNet; it is not changed.
    """

    def __init__(self, unet: nn.Module):
        super().__init__()
        self.adapter = TrainableAdapter.from_unet(unet, QUALITY_WIDTH, TrainingSettings(tokens=2, projection="mlp"))
        self.sites = sites(unet)
        self.to_attend = training_options(self.sites)

    def options(self, kinds: Tensor, severities: Tensor, directions: Tensor, accompanied: Tensor) -> dict:
        """``transformer_options`` of one forward.

        Args:
            kinds, severities, directions: as :func:`describe` takes them.
            accompanied: ``[N]``, 1 where the layers see the tokens and 0 where they do not.
        """
        quality = describe(kinds, severities, directions)
        keys_values = self.adapter(quality, torch.ones_like(quality[:, :1])) * accompanied[:, None, None]
        return {**self.to_attend, KEYS_VALUES: by_site(keys_values, self.sites)}


def describe(kinds: Tensor, severities: Tensor, directions: Tensor) -> Tensor:
    """What the companion is told of distortions, ``[N, QUALITY_WIDTH]``; all in proportion to the severity.

    Args:
        kinds: ``[N]``, indices into ``KINDS``.
        severities: ``[N]``, 0…1; without meaning for clean pictures.
        directions: ``[N]`` in degrees; without meaning for kinds that have none.
    """
    amount = torch.where(kinds == 0, torch.ones_like(severities), severities)
    columns = [F.one_hot(kinds, len(KINDS))]
    for kind, turns in TURNS.items():
        angle = turns * torch.deg2rad(directions)
        columns.append(torch.stack([angle.cos(), angle.sin()], 1) * (kinds == KINDS.index(kind))[:, None])
    return torch.cat(columns, 1) * amount[:, None]
