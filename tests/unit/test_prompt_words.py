"""Words that the quickstart never learnt, and the viewer of two pictures."""

import logging

import torch

from iqa_adapter.nodes import quickstart
from iqa_adapter.nodes.compare import IQACompare


def test_unknown_words_of_prompts_are_said_once_each(caplog):
    result = quickstart.IQAQuickstartModel.execute(1)
    clip = result.args[1].clone()
    assert "moon" in result.ui["text"][0] and "dragon" not in result.ui["text"][0]
    with caplog.at_level(logging.WARNING):
        clip.tokenize("a (dotted:1.2) pink ring on teal stripes, embedding:my_wyvern")
        assert "never learnt" not in caplog.text
        clip.tokenize("a striped dragon on teal leaves")
        assert "never learnt dragon: " in caplog.text
        clip.tokenize("a striped dragon and a wizard")
    assert "never learnt wyvern" not in caplog.text
    assert "never learnt wizard: " in caplog.text and caplog.text.count("dragon") == 1


def test_pairs_of_pictures_for_the_viewer():
    shown = IQACompare.execute(torch.rand(1, 8, 8, 3), torch.rand(3, 16, 8, 3)).ui
    assert len(shown["a_images"]) == len(shown["b_images"]) == 3 and len(shown["images"]) == 6
    assert len({str(picture) for picture in shown["a_images"]}) == 1
    assert len({str(picture) for picture in shown["b_images"]}) == 3
    assert shown["images"][:2] == [shown["a_images"][0], shown["b_images"][0]]
