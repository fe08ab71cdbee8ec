"""What a sampling run knows of the rows that its forwards see, carried to the sites.

A forward sees rows; what they belong to is known above it. ComfyUI's guider names its conditionings ("positive",
"negative", ...) and marks each with a uuid, its batch function cuts areas out of the latent, other packs cut it into
windows of images or tiles. Wrappers at these levels note what is true there; the sites read it when they run
(:mod:`.rows`).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

from comfy.hooks import create_transformer_options_from_hooks
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor

from .application import APPLICATIONS, Application
from .attention import QualityAttention
from .call import CALL, QUALITY, RUN, Call, Run
from .tokens import QualityTokens
from .transformer_forward import sites_told
from .transformer_sites import SITES

log = logging.getLogger(__name__)


def watch(model: ModelPatcher) -> None:
    """Let the sites of ``model`` know what its sampling runs know. Watching twice is watching once."""
    wrappers = {
        WrappersMP.OUTER_SAMPLE: _sample,
        WrappersMP.PREDICT_NOISE: _predict_noise,
        WrappersMP.CALC_COND_BATCH: _calc_cond_batch,
        WrappersMP.APPLY_MODEL: _apply_model,
    }
    for kind, wrapper in wrappers.items():
        if not model.get_wrappers(kind, CALL):
            model.add_wrapper_with_key(kind, CALL, wrapper)


def _sample(executor: WrapperExecutor, noise: Tensor, *args, **kwargs):
    """A sampling run begins, and ends with a report of what had no effect."""
    guider = executor.class_obj
    names = {cond["uuid"]: name for name, conds in guider.original_conds.items() for cond in conds}
    options = guider.model_options.setdefault("transformer_options", {})
    images = len(noise)
    run = options[RUN] = Run(names, images)
    own = [tokens for conds in guider.original_conds.values() for cond in conds for tokens in cond.get(QUALITY, ())]
    _check_embeds(options.get(APPLICATIONS, ()), own, images)
    try:
        result = executor(noise, *args, **kwargs)
    finally:
        run.let_go()
    run.report()
    return result


def _check_embeds(applications: tuple[Application, ...], own: list[QualityTokens], images: int) -> None:
    """Before the first step: refuse embeds of which some would never be used, name those that nothing would read.

    Raises:
        ValueError: more rows of embeds than pictures.
    """
    for tokens in [*(application.tokens for application in applications), *own]:
        if len(tokens) > images:
            raise ValueError(
                f"{len(tokens)} qualities are asked for with {tokens.adapter.name}, but {images} "
                f"{'picture is' if images == 1 else 'pictures are'} sampled at once, so that some would never be used. "
                "Sample the LATENT that Quality Sweep gives, or as many pictures as there are embeds."
            )
    unread = {
        tokens.adapter.name for tokens in own if not any(tokens.adapter.is_same(each.adapter) for each in applications)
    }
    for name in sorted(unread):
        log.warning("Set Quality of Conditioning with %s has no effect: the model has no Apply node for it.", name)


def _predict_noise(executor: WrapperExecutor, x: Tensor, timestep: Tensor, model_options: dict, *args, **kwargs):
    if run := model_options.get("transformer_options", {}).get(RUN):
        run.picture = x
    return executor(x, timestep, model_options, *args, **kwargs)


def _calc_cond_batch(executor: WrapperExecutor, model, conds: list, x: Tensor, timestep: Tensor, model_options: dict):
    options = model_options.get("transformer_options", {})
    run = options.get(RUN) or Run()
    call = Call(run, timestep, model.model_sampling.percent_to_sigma, conds, x)
    return executor(model, conds, x, timestep, {**model_options, "transformer_options": _installed(options, call)})


def _apply_model(executor: WrapperExecutor, x: Tensor, t: Tensor, *args, **kwargs):
    """A forward; ``transformer_options`` is the fourth of the arguments that follow the noise level, or named."""
    options = args[3] if len(args) > 3 else kwargs.get("transformer_options", {})
    call = options.get(CALL)
    if call is None:  # a forward outside of any guider
        schedule = executor.class_obj.model_sampling.percent_to_sigma
        images = x[: max(1, len(x) // len(options.get("cond_or_uncond", [0])))]
        call = Call(options.get(RUN) or Run(), t, schedule, [], images)
        options = _installed(options, call)
    else:
        if x.shape[-2:] != call.latent.shape[-2:]:
            call = replace(call, tiles=x)
        options = _with_hooks({**options, CALL: call}, executor.class_obj.current_patcher)
    with sites_told(options, x, kwargs):
        if len(args) > 3:
            return executor(x, t, *args[:3], options, *args[4:], **kwargs)
        return executor(x, t, *args, **{**kwargs, "transformer_options": options})


def _with_hooks(options: dict, patcher: ModelPatcher) -> dict:
    """``options`` in which the sites go on top of what the hooks of these conditionings put there, too.

    ComfyUI merges the hooks' patches under those of the call, where ours hide them.
    """
    hooked = create_transformer_options_from_hooks(patcher, patcher.current_hooks, {}).get("patches_replace")
    if not hooked:
        return options
    below = {layer: dict(patches) for layer, patches in hooked.items()}
    for layer, patches in options["patches_replace"].items():
        for key, patch in patches.items():
            patch = patch.previous if isinstance(patch, QualityAttention) else patch
            if patch is not None:
                below.setdefault(layer, {})[key] = patch
    return _installed({**options, "patches_replace": below}, options[CALL])


def _installed(options: dict, call: Call) -> dict:
    """``transformer_options`` in which the sites attend to quality tokens on top of whatever other packs put there.

    Done for every call, so that it does not matter which node came first, or under which key it patches.
    """
    active = tuple(each for each in options.get(APPLICATIONS, ()) if call.in_range(each))
    call.run.wanted.update(active)
    patches_replace = {layer: dict(patches) for layer, patches in options.get("patches_replace", {}).items()}
    installed = {**options, CALL: call, "patches_replace": patches_replace, SITES: {}}
    for number, site in enumerate(active[0].sites if active else ()):
        acting = tuple(each for each in active if each.strengths[number])
        if acting:
            site.install(installed, partial(QualityAttention, number, acting))
    return installed


def with_quality(conditioning: list, tokens: QualityTokens) -> list:
    """ComfyUI conditioning ``[[embedding, options], ...]`` with quality tokens of its own.

    Tokens that it already has for other adapters stay.
    """

    def joined(options: dict) -> dict:
        others = tuple(each for each in options.get(QUALITY, ()) if not each.adapter.is_same(tokens.adapter))
        return {**options, QUALITY: (*others, tokens)}

    return [[embedding, joined(options)] for embedding, options in conditioning]
