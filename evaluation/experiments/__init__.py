"""The experiments, by the names that plans use."""

from __future__ import annotations

from ..experiment import Experiment
from . import content, features, gain, guidance, preference, response, strength, transfer

EXPERIMENTS: dict[str, type[Experiment]] = {
    "response": response.Response,
    "gain": gain.Gain,
    "preference": preference.Preference,
    "content": content.ContentAndDiversity,
    "transfer": transfer.Transfer,
    "guidance": guidance.Guidance,
    "strength": strength.Strength,
    "features": features.Features,
}
