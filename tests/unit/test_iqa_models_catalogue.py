"""The catalogue says what pyiqa says, and what pyiqa's architectures show when they are built.

Nets are built with their parameters on the ``meta`` device, where shapes are computed and numbers are not.
"""

import math
import re

import accelerate
import iqa_nets
import iqa_weights
import pytest
import torch
from pyiqa.default_model_configs import DEFAULT_CONFIGS

from iqa_adapter.iqa_models import catalogue, choice, construction
from iqa_adapter.nodes import loaders
from iqa_adapter.quality import statistics

OWN = {name for name in catalogue.names() if catalogue.find(name).module}  # not pyiqa's, or not by its code
INSTALLED = [name for name in catalogue.names() if name in DEFAULT_CONFIGS]  # by pyiqa's version
OF_DISTRIBUTIONS = {"fid", "sfid", "fid_dinov2", "inception_score"}  # judge sets of pictures, not one
READ_WHEN_BUILT = ("ARNIQA", "MetaIQA", "QualiCLIP")  # architectures that cannot be built without files
COMPUTED_WHEN_BUILT = ("LIQE", "LAIONAes")  # need numbers, which the meta device has not


def test_all_metrics_of_single_pictures_are_there():
    of_pyiqa = {name for name, config in DEFAULT_CONFIGS.items() if config.get("metric_mode") == "NR"}
    of_later_versions = {name for name in catalogue.names() if catalogue.find(name).since} - of_pyiqa
    assert set(catalogue.names()) == (of_pyiqa - OF_DISTRIBUTIONS) | OWN | of_later_versions
    assert {"colourfulness", "entropy", "noise", "quickstart_iqa"} == OWN


def test_directions_and_ranges_are_pyiqas():
    for name in INSTALLED:
        entry, config = catalogue.find(name), DEFAULT_CONFIGS[name]
        assert entry.higher_is_better == (not config.get("lower_better", False)), name
        minimum, maximum = (re.sub("[~ ]", "", bound) for bound in config["score_range"].split(","))
        assert (entry.minimum, entry.maximum) == (float(minimum or -math.inf), float(maximum or math.inf)), name


def test_metrics_of_the_adapters_are_complete():
    known = statistics.cc3m_statistics()
    assert len(known) == 21
    for name, numbers in known.items():
        entry = catalogue.find(name)
        assert entry.supported and entry.weights and entry.layer and entry.download_mb > 1, name
        assert (entry.aesthetic, entry.higher_is_better) == (numbers.aesthetic, numbers.higher_is_better), name


def test_every_entry_can_be_acted_on():
    for name in catalogue.names():
        entry = catalogue.find(name)
        assert entry.supported != bool(entry.why_not), name
        assert entry.licence and entry.minimum < entry.maximum and entry.minimum_side >= 1
        for file in entry.weights:
            assert name == catalogue.QUICKSTART or re.fullmatch(r"https://\S+", file.source), name
    with pytest.raises(ValueError, match="Did you mean topiq_nr"):
        catalogue.find("topiq-nr")


@pytest.mark.parametrize("family", iqa_weights.families(), ids=lambda family: family[0])
def test_a_family_shares_what_its_architecture_decides(family):
    facts = [catalogue.find(name) for name in family]
    for fact in ("layer", "minimum_side", "batch_safe", "resize", "bytes_per_picture", "bytes_per_pixel"):
        assert len({getattr(entry, fact) for entry in facts}) == 1, fact


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("iqa")


LEARNED = [family[0] for family in iqa_weights.families() if catalogue.find(family[0]).layer]


@pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")
@pytest.mark.parametrize("name", LEARNED)
def test_feature_layer_and_smallest_picture(name, folder):
    entry, architecture = catalogue.find(name), DEFAULT_CONFIGS[name]["metric_opts"]["type"]
    if architecture in COMPUTED_WHEN_BUILT:
        pytest.skip("judged with numbers in test_iqa_models_pyiqa.py")
    files = {}
    if architecture in READ_WHEN_BUILT:
        iqa_weights.write_weights(name, folder)
        files = {file.name: folder / file.name for file in entry.weights}
    with accelerate.init_empty_weights():
        net = construction.build(name, files, entry.layer.name)
    net.to("meta")
    outputs = []
    net.get_submodule(entry.layer.name).register_forward_hook(lambda *call: outputs.append(call[-1]))
    side = entry.minimum_side
    net(torch.empty(1, 3, side, side, device="meta"))
    channels = 2 if outputs[0].ndim == 3 else 1  # tokens [rows, T, D]; maps [rows, C, H, W] and vectors [rows, D]
    assert outputs[0].shape[channels] == entry.layer.width
    assert entry.layer.pooled == (outputs[0].ndim == 2)
    if side > 1:
        with pytest.raises((RuntimeError, AssertionError, ValueError)):
            net(torch.empty(1, 3, side - 1, side - 1, device="meta"))


FORMULAS = [name for name in catalogue.names() if catalogue.find(name).supported and not catalogue.find(name).layer]


@pytest.mark.parametrize("name", sorted(set(FORMULAS) - {"ilniqe"}))  # which scales every picture to 524x524, slowly
def test_smallest_picture_of_a_formula(name, folder):
    entry = catalogue.find(name)
    iqa_weights.write_weights(name, folder)
    net = construction.build(name, {file.name: folder / file.name for file in entry.weights})
    side = entry.minimum_side
    picture = iqa_nets.photos(1, side + 8, side + 8)[:, :side, :side].movedim(-1, 1)
    assert net(picture).isfinite().all()


def test_the_list_of_metrics_begins_with_what_needs_no_download():
    groups = choice.groups()
    assert [entry.name for entry in groups["no download"]] == [
        "entropy", "noise", "piqe", "quickstart_iqa", "colourfulness",
    ]  # fmt: skip
    assert [entry.name for entry in groups["recommended"]][:1] == ["topiq_nr"]
    for entries in groups.values():
        assert [entry.aesthetic for entry in entries] == sorted(entry.aesthetic for entry in entries)
    names = [name for name, _ in choice.described()]
    assert sorted(names) == [name for name in catalogue.names() if catalogue.find(name).supported]
    texts = dict(choice.described())
    assert texts["piqe"] == "no download: technical quality, lower is better"
    assert texts["laion_aes"] == "recommended: aesthetics, higher is better, 937 MB"


def test_the_loader_tells_the_direction_of_every_metric():
    (metric, _) = loaders.IQAModelLoader.define_schema().inputs
    assert metric.default == "piqe" and metric.options == [name for name, _ in choice.described()]
    assert "piqe \u2193" in metric.tooltip and "laion_aes \u2191" in metric.tooltip
    assert metric.extra_dict["descriptions"] == dict(choice.described())
