"""Many samplings at once, each with ComfyUI's own sampler, its own noise and its own history.

A run of ComfyUI's guider prepares models and conditionings once. In the place where it would call the sampler it calls
:class:`Runs`, which starts the sampler once for every noise, each paused (:mod:`.paused`) at every call of the model
and after every step. So several can share a call of the model, one can be looked at between two steps, and what is
dropped costs nothing more; what a sampler computes is what it would compute alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import comfy.model_management
import comfy.sampler_helpers
import torch
from comfy.model_patcher import create_model_options_clone
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from comfy.samplers import CFGGuider, Sampler
from torch import Tensor

from .noise import Recipe
from .paused import Paused

KEY = "iqa_search"


@dataclass(frozen=True)
class ModelCall:
    """A sampler asks for the denoised prediction of ``x`` ``[rows, C, ...]`` at ``sigma`` ``[rows]``."""

    x: Tensor
    sigma: Tensor
    options: dict
    seed: int | None


@dataclass(frozen=True)
class StepDone:
    """A sampler has made its step ``number``, counted from 0; ``denoised`` is what it predicts ``[rows, C, ...]``."""

    number: int
    denoised: Tensor


class AskingGuider:
    """What a sampler sees of the guider: the guider, but that its predictions are asked for."""

    def __init__(self, guider: CFGGuider, ask: Callable[[object], object]):
        self._guider, self._ask = guider, ask

    def __call__(self, x: Tensor, sigma: Tensor, model_options: dict | None = None, seed: int | None = None) -> Tensor:
        return self._ask(ModelCall(x, sigma, model_options or {}, seed))

    def __getattr__(self, name: str):
        return getattr(self._guider, name)


class Run(Paused):
    """One sampling.

    Attributes:
        steps: that it has made.
        prediction: denoised, after the last of them; None before the first.
    """

    def __init__(self, function: Callable, device: torch.device):
        super().__init__(function, device)
        self.steps = 0
        self.prediction: Tensor | None = None

    def go_on(self, answer: object = None) -> None:
        super().go_on(answer)
        if isinstance(self.question, StepDone):
            self.steps, self.prediction = self.question.number + 1, self.question.denoised


class Runs:
    """Samplings with different noise, inside one run of a guider.

    Args:
        start: makes the paused sampling of one recipe.
        guider: that runs.
        options: the model options that samplers are given.
        shape: of the noise for which the guider has prepared its models.
        recipes: of the noises.
        at_once: samplings that share a call of the model.
        on_step: called after every step of every sampling.
    """

    def __init__(
        self,
        start: Callable[[Recipe], Run],
        guider: CFGGuider,
        options: dict,
        shape: torch.Size,
        recipes: Sequence[Recipe],
        at_once: int,
        on_step: Callable[[], None],
    ):
        self.guider, self.at_once = guider, at_once
        self.evaluations = 0
        self._options, self._shape, self._on_step = options, shape, on_step
        self.all = [start(recipe) for recipe in recipes]

    def advance(self, numbers: Sequence[int], steps: float = float("inf")) -> None:
        """Sample until each of these has made so many steps in all, or has ended.

        May be called again after an exception, such as that of a cancelled run.
        """
        for start in range(0, len(numbers), self.at_once):
            going = [self.all[number] for number in numbers[start : start + self.at_once]]
            while going := [run for run in going if not run.ended and run.steps < steps]:
                self._go_on(going)

    def predictions(self, numbers: Sequence[int]) -> Tensor:
        """What these are going to be, ``[numbers · rows, C, ...]`` as a LATENT."""
        made = [self.all[number].prediction for number in numbers]
        return self.guider.inner_model.process_latent_out(torch.cat(made).to(torch.float32))

    def drop(self, numbers: Sequence[int]) -> None:
        """Go no further with these."""
        for number in numbers:
            self.all[number].drop()

    def bring_back_the_model(self) -> None:
        """To its device, from where other models may have pushed it while pictures were judged."""
        guider = self.guider
        comfy.sampler_helpers.prepare_sampling(guider.model_patcher, self._shape, guider.conds, guider.model_options)

    def _go_on(self, going: Sequence[Run]) -> None:
        """One step of the sampler's program in each: up to its next call of the model, or to the end of a step."""
        for run in going:
            if not isinstance(run.question, ModelCall):
                run.go_on()
                self._note(run)
        asking = [run for run in going if isinstance(run.question, ModelCall)]
        while asking:
            together = [run for run in asking if self._can_share(asking[0].question, run.question)]
            for run, denoised in zip(together, self._denoised([run.question for run in together]), strict=True):
                run.go_on(denoised)
                self._note(run)
            asking = [run for run in asking if run not in together]

    def _note(self, run: Run) -> None:
        if isinstance(run.question, StepDone):
            self._on_step()

    def _can_share(self, first: ModelCall, other: ModelCall) -> bool:
        """Whether one call of the model answers both: samplers of the CFG++ kind listen in on their own call."""
        if first is other:
            return True
        ours = first.options is self._options and other.options is self._options
        return ours and first.x.shape == other.x.shape and torch.equal(first.sigma, other.sigma)

    def _denoised(self, calls: Sequence[ModelCall]) -> Sequence[Tensor]:
        comfy.model_management.throw_exception_if_processing_interrupted()
        x, sigma = (torch.cat([getattr(call, name) for call in calls]) for name in ("x", "sigma"))
        denoised = self.guider(x, sigma, model_options=calls[0].options, seed=calls[0].seed)
        self.evaluations += len(calls)
        return denoised.split(len(calls[0].x))


@dataclass(frozen=True, eq=False)
class Sampling:
    """How the pictures of a search are sampled.

    Attributes:
        guider: of ComfyUI, with its conditionings; left as it is.
        sampler, sigmas: as *SamplerCustomAdvanced* gets them.
        latent: LATENT that fits the model.
        at_once: noises that share a call of the model; 1 makes every result bit-equal to a sampling of its own.
    """

    guider: CFGGuider
    sampler: Sampler
    sigmas: Tensor
    latent: dict
    at_once: int

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1

    def __call__(
        self, recipes: Sequence[Recipe], drive: Callable[[Runs], Sequence[int]], on_step: Callable[[], None]
    ) -> tuple[list[Tensor], int]:
        """Sample.

        Args:
            recipes: of the noises.
            drive: advances the runs, and returns the numbers of those that ended, which are kept.
            on_step: called after every step of every run.

        Returns:
            The result of each of these, ``[rows, C, ...]``, and how often the model was evaluated.

        Raises:
            RuntimeError: the guider of another pack does not call the sampler as ComfyUI's do.
        """
        made: list[Runs] = []

        def search(
            executor: WrapperExecutor, guider, sigmas, extra_args, _callback, noise, latent, mask=None, _quiet=False
        ):
            rows = len(self.latent["samples"])
            own_latent, own_mask = latent[:rows], None if mask is None else mask[:rows]

            def start(recipe: Recipe) -> Run:
                def sample(ask: Callable) -> Tensor:
                    drawn = recipe.draw(self.latent).to(noise)
                    arguments = {**extra_args, "seed": recipe.seed}

                    def callback(step: int, denoised: Tensor, _x: Tensor, _steps: int) -> None:
                        ask(StepDone(step, denoised))

                    asking = AskingGuider(guider, ask)
                    return executor(asking, sigmas, arguments, callback, drawn, own_latent, own_mask, True)

                return Run(sample, noise.device)

            runs = Runs(start, guider, extra_args["model_options"], noise.shape, recipes, self.at_once, on_step)
            made.append(runs)
            try:
                return torch.cat([runs.all[number].result for number in drive(runs)])
            finally:
                runs.drop(range(len(runs.all)))

        guider = copy.copy(self.guider)
        guider.model_options = create_model_options_clone(guider.model_options)
        wrappers = guider.model_options.setdefault("transformer_options", {}).setdefault("wrappers", {})
        wrappers[WrappersMP.SAMPLER_SAMPLE] = {KEY: [search], **wrappers.get(WrappersMP.SAMPLER_SAMPLE, {})}
        first = recipes[: self.at_once]  # models and conditionings are prepared for as many as are sampled at once
        noise = torch.cat([recipe.draw(self.latent) for recipe in first])
        samples = self.latent["samples"]
        result = guider.sample(
            noise,
            samples.repeat(len(first), *[1] * (samples.ndim - 1)),
            self.sampler,
            self.sigmas,
            denoise_mask=self.latent.get("noise_mask"),
            disable_pbar=True,
            seed=recipes[0].seed,
        )
        if not made:
            raise RuntimeError(
                f"{type(self.guider).__name__} does not call the sampler as ComfyUI's guiders do, so that nothing can "
                "be searched with it; use CFGGuider or BasicGuider."
            )
        result = result.to(comfy.model_management.intermediate_device())
        return list(result.split(len(samples))), made[0].evaluations
