"""The base model under evaluation: any that ComfyUI loads, sampled with ComfyUI's own sampler, in batches."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import comfy.sample
import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..iqa_models.weights import LoadedFile
from ..quickstart.precision import autocast
from ..training.base_model import checkpoint_file, load_models
from ..training.encoder import Models
from ..training.own_size import own_resolution
from .plan import Sampling

Embedded = Mapping[str, Callable[[], tuple]]
QUICKSTART = "quickstart"
NOISY = ("ancestral", "sde", "ddpm", "lcm", "seeds", "sa_solver")  # in the names of samplers that add noise


class Base:
    """A base model.

    Args:
        name: of a checkpoint, or a key of ``embedded``.
        sampling: how it is sampled.
        embedded: models beside those of files.

    Attributes:
        digest: of its weights.
        size: height and width of its pictures in pixels.

    Raises:
        FileNotFoundError, ValueError: it cannot be loaded, or the sampler or scheduler is unknown.
    """

    def __init__(self, name: str, sampling: Sampling, embedded: Embedded):
        check_sampling(sampling)
        self.name, self.sampling = name, sampling
        self.models = load_models(name, embedded)
        self.digest = _digest(self.models) if name in embedded else LoadedFile.at(checkpoint_file(name, {})).sha256()
        own = own_resolution(self.models.model)
        self.size = sampling.height or own, sampling.width or own
        self.empty = self._encoded([sampling.negative_prompt])

    def sample(self, model: ModelPatcher, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """A batch.

        Args:
            model: the base model, or a patched clone; picture i of the batch belongs to row i of quality tokens.
            prompts, seeds: ``[N]`` each.

        Returns:
            ``[N, 3, H, W]`` in 0…1 on the CPU.
        """
        chosen, vae = self.sampling, self.models.vae
        latents = model.get_model_object("latent_format").latent_channels
        scale = vae.spacial_compression_encode()
        latent = torch.zeros(len(seeds), latents, *(side // scale for side in self.size))
        noise = torch.cat([comfy.sample.prepare_noise(latent[:1], seed) for seed in seeds])
        positive = self._encoded([*prompts])
        with self._precision():
            result = comfy.sample.sample(
                model, noise, chosen.steps, chosen.cfg, chosen.name, chosen.scheduler, positive, self.empty, latent,
                disable_pbar=True, seed=seeds[0],
            )  # fmt: skip
        return vae.decode(result).movedim(-1, 1).clamp(0, 1).float().cpu()

    def length(self, prompt: str) -> tuple[int, ...]:
        """Tokens of a prompt, for each text encoder; prompts of one batch must have the same."""
        tokens = self.models.clip.tokenize(prompt)
        return tuple(sum(map(len, chunks)) for chunks in tokens.values())

    def _encoded(self, prompts: list[str]) -> list:
        """One conditioning whose row i is prompt i."""
        clip = self.models.clip
        known = {text: clip.encode_from_tokens_scheduled(clip.tokenize(text))[0] for text in dict.fromkeys(prompts)}
        embeddings, extras = zip(*(known[text] for text in prompts), strict=True)
        options = dict(extras[0])
        if options.get("pooled_output") is not None:
            options["pooled_output"] = torch.cat([extra["pooled_output"] for extra in extras])
        return [[torch.cat(embeddings), options]]

    def _precision(self) -> AbstractContextManager:
        """The quickstart is sampled as its evaluation always was; of others ComfyUI chooses the precision."""
        return autocast() if self.name == QUICKSTART else contextlib.nullcontext()


def check_sampling(sampling: Sampling) -> None:
    """Refuse what ComfyUI does not know.

    Raises:
        ValueError: names the setting and what is known.
    """
    for setting, given, known in (
        ("name", sampling.name, comfy.samplers.KSampler.SAMPLERS),
        ("scheduler", sampling.scheduler, comfy.samplers.KSampler.SCHEDULERS),
    ):
        if given not in known:
            raise ValueError(f"sampling.{setting} must be one of {', '.join(known)}, not {given!r}.")


def pictures_at_once(sampling: Sampling) -> int:
    """Size of a batch: one picture where the sampler adds noise at every step, for a batch draws that together."""
    return 1 if any(part in sampling.name for part in NOISY) else sampling.batch


@torch.no_grad()
def _digest(models: Models) -> str:
    """SHA-256 of the weights of UNet and text encoder."""
    total = hashlib.sha256()
    for part in (models.model.model.diffusion_model, models.clip.cond_stage_model):
        for name, value in part.state_dict().items():
            total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            total.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return total.hexdigest()
