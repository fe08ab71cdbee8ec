"""Transformers with an adapter equal the formula, recomputed at every attention without the pack's code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformer_models import CASES, OVERRIDE, QUALITY, Reference, predict, random_adapter, transformer

from iqa_adapter.adapter.adapter import Adapter, LayerWeights
from iqa_adapter.adapter.apply import apply_adapter
from iqa_adapter.adapter.checkpoint import load_adapter, save_adapter
from iqa_adapter.adapter.description import describe
from iqa_adapter.adapter.sites import sites
from iqa_adapter.adapter.tokens import embed_quality

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4  # of the prediction's standard deviation


@pytest.mark.parametrize("family", list(CASES))
def test_parity(family):
    model = transformer(family)
    adapter = random_adapter(model)
    tokens = embed_quality(adapter, QUALITY)
    patched = predict(apply_adapter(model, tokens, 0.8), family)
    reference = model.clone()
    oracle = Reference(family, model, adapter, tokens, 0.8)
    reference.model_options["transformer_options"][OVERRIDE] = oracle
    expected, plain = predict(reference, family), predict(model, family)
    assert oracle.call % len(CASES[family].sites) == 0
    assert {site for site in CASES[family].sites if site is not None} == set(range(len(adapter.layers)))
    difference = (patched - expected).abs().max() / expected.std()
    print(f"\nparity {family:16} largest difference {difference:.1e} std, {len(adapter.layers)} sites")
    assert difference <= TOLERANCE
    assert (expected - plain).abs().max() > 0.01 * plain.std()


@pytest.mark.parametrize("family", list(CASES))
def test_every_site_acts(family):
    model = transformer(family)
    adapter = random_adapter(model)
    plain = predict(model, family, 1.0)
    zero = [LayerWeights(0 * layer.key, 0 * layer.value) for layer in adapter.layers]
    silent = []
    for number, layer in enumerate(adapter.layers):
        alone = [*zero[:number], layer, *zero[number + 1 :]]
        alone = Adapter("alone", adapter.metadata, adapter.projection, tuple(alone))
        if torch.equal(plain, predict(apply_adapter(model, embed_quality(alone, QUALITY)), family, 1.0)):
            silent.append(sites(model.model.diffusion_model)[number].name)
    assert not silent


def test_files_keep_family_and_sites(tmp_path):
    model = transformer("Flux")
    names = tuple(site.name for site in sites(model.model.diffusion_model))
    assert names == ("double.0", "double.1", "single.0", "single.1", "single.2")
    file = tmp_path / "flux.safetensors"
    save_adapter(random_adapter(model, sites=names), file)
    loaded = load_adapter(file)
    assert loaded.metadata.sites == names
    assert describe(file).text == "score adapter (topiq_nr) for Flux"
    converted = tmp_path / "converted.safetensors"
    subprocess.run(
        [sys.executable, "iqa.py", "convert", file, converted, "--metrics", "topiq_nr"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    assert load_adapter(converted).metadata.base_model == "Flux (5 attention layers of width 32)"
    patched = predict(apply_adapter(model, embed_quality(loaded, QUALITY)), "Flux")
    assert torch.equal(patched, predict(apply_adapter(model, embed_quality(random_adapter(model), QUALITY)), "Flux"))


class PixArtMS(torch.nn.Module):
    """The name of ComfyUI's class."""


def test_models_without_sites_are_refused_by_name():
    with pytest.raises(ValueError, match="do not work with PixArt: ComfyUI lets nothing reach the attention.*Z-Image"):
        sites(PixArtMS())
