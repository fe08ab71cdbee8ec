"""docs/api.md promises functions to other packs: each is there, with these arguments and these defaults."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

from iqa_adapter.adapter.application import APPLICATIONS
from iqa_adapter.adapter.call import QUALITY
from iqa_adapter.nodes.loaders import IQAAdapterLoader

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
PROMISED = re.findall(r"^\| `([a-z_.]+)\.([a-z_]+)(\(.*?\))` \|", PAGE, re.MULTILINE)


def test_the_page_names_functions():
    assert [name for _, name, _ in PROMISED] == [
        "load_adapter", "embed_quality", "embed_features", "apply_adapter", "load_iqa_model", "score_images",
    ]  # fmt: skip


@pytest.mark.parametrize("module, name, arguments", PROMISED)
def test_a_promised_function_takes_the_arguments_of_the_page(module, name, arguments):
    function = getattr(importlib.import_module(f"iqa_adapter.{module}"), name)
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(function).parameters.values()
    ]
    assert str(inspect.Signature(parameters)) == arguments
    assert function.__doc__


def test_the_package_is_found_from_a_node_as_the_page_says():
    assert IQAAdapterLoader.__module__.rpartition(".nodes.")[0] == "iqa_adapter"


def test_what_travels_with_a_model_has_the_keys_of_the_page():
    assert f'transformer_options["{APPLICATIONS}"]' in PAGE
    assert f"`{QUALITY}`" in PAGE
