"""Workflows as they are described, and the files that were made of the descriptions."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from comfyui_runtime import ROOT
from iqa_adapter.documentation.thumbnail import SIDE, thumbnail
from iqa_adapter.documentation.with_quickstart import with_quickstart
from iqa_adapter.documentation.workflow import Group, Node, Note, Output, Workflow
from iqa_adapter.documentation.workflow_files import described, names
from iqa_adapter.documentation.workflow_page import LEAST_ZOOM, SCREEN, layout

FOLDERS = {  # of the files that nodes load
    "CheckpointLoaderSimple": "checkpoints",
    "UNETLoader": "diffusion_models",
    "CLIPLoader": "text_encoders",
    "DualCLIPLoader": "text_encoders",
    "VAELoader": "vae",
}


def saved(name: str, folder: str = "") -> dict:
    return json.loads((ROOT / "workflows" / folder / f"{name}.json").read_text(encoding="utf-8"))


def stale(name: str) -> str:
    return f"workflows/{name} is not what its description makes. Run `python iqa.py docs --workflows {name}`."


@pytest.mark.parametrize("name", names())
def test_the_api_form_is_the_described_one(name):
    nodes = [node for node in described(name).nodes if not isinstance(node, Note)]
    graph = saved(name, "api")
    assert [graph[str(number)]["class_type"] for number in range(1, len(nodes) + 1)] == [n.type for n in nodes], stale(
        name
    )
    for number, node in enumerate(nodes, 1):
        made = graph[str(number)]
        assert node.title in ("", made["_meta"]["title"]), stale(name)
        for input_name, given in node.inputs.items():
            value = made["inputs"][input_name]
            if isinstance(given, Output):
                assert value[0] == str(1 + nodes.index(given.node)), stale(name)
            else:
                assert value == given, stale(name)


@pytest.mark.parametrize("name", names())
def test_the_ui_form_has_the_described_groups_notes_and_models(name):
    workflow, made = described(name), saved(name)
    assert [group["title"] for group in made["groups"]] == [group.title for group in workflow.groups], stale(name)
    by_number = sorted(made["nodes"], key=lambda node: node["id"])
    for node, found in zip(workflow.nodes, by_number, strict=True):
        assert found["type"] == node.type, stale(name)
        assert found["properties"].get("models", []) == node.models, stale(name)
        if isinstance(node, Note):
            assert found["widgets_values"] == [node.inputs["text"]], stale(name)


@pytest.mark.parametrize("name", names())
def test_files_of_models_say_where_they_are_to_be_had(name):
    for node in saved(name)["nodes"]:
        folder = FOLDERS.get(node["type"])
        models = node["properties"].get("models", [])
        wanted = [value for value in node["widgets_values"] if str(value).endswith(".safetensors")] if folder else []
        assert [model["name"] for model in models] == wanted
        for model in models:
            assert model["directory"] == folder
            assert model["url"].startswith("https://huggingface.co/") and model["url"].endswith(f"/{model['name']}")


def test_columns_stand_beside_each_other_and_their_nodes_below():
    a, b, c, d = (Node("VAEDecode") for _ in range(4))
    boxes, groups = layout(Workflow(Group("1", [a, b], [c]), Group("2", [d]), thumbnail=()), [100, 50, 30, 20])
    for i, (x, y, width, height) in enumerate(boxes):
        for u, v, other, tall in boxes[i + 1 :]:
            assert x + width <= u or u + other <= x or y + height + 30 <= v or v + tall + 30 <= y
        (inside,) = [g for g in groups if g["box"][0] <= x and x + width <= g["box"][0] + g["box"][2]]
        assert inside["title"] == ("2" if i == 3 else "1")


def test_a_first_group_that_the_screen_does_not_hold_is_refused():
    workflow = Workflow(Group("1", [Node("VAEDecode")]), thumbnail=())
    layout(workflow, [SCREEN[1]])
    with pytest.raises(ValueError, match="The first group takes 380 x"):
        layout(workflow, [SCREEN[1] / LEAST_ZOOM])


def test_the_quickstart_stands_in_for_checkpoint_latent_and_adapter():
    graph = saved("sdxl_quality_sliders", "api")
    made = with_quickstart(graph, {"Quality (simple)": {"quality": 7.0}})
    of = {node["class_type"]: node["inputs"] for node in made.values()}
    (model,) = [number for number, node in made.items() if node["class_type"] == "IQAQuickstartModel"]
    assert "CheckpointLoaderSimple" not in of and of["KSampler"]["latent_image"] == [model, 3]
    assert of["IQAQuality"]["adapter_name"] == "quickstart_score.safetensors" and of["IQAQuality"]["quality"] == 7.0
    assert of["IQAQuality"]["metrics"] == "" and graph == saved("sdxl_quality_sliders", "api")
    with pytest.raises(ValueError, match="No node is called 'Nobody'"):
        with_quickstart(graph, {"Nobody": {}})


@pytest.mark.parametrize("name", ["flux_quality_sliders", "z_image_search_and_guidance"])
def test_the_quickstart_stands_in_for_model_text_encoder_and_vae(name):
    made = with_quickstart(saved(name, "api"))
    (model,) = [number for number, node in made.items() if node["class_type"] == "IQAQuickstartModel"]
    assert not {"UNETLoader", "CLIPLoader", "DualCLIPLoader", "VAELoader"} & {n["class_type"] for n in made.values()}
    for node in made.values():
        for kind, number in (("clip", 1), ("vae", 2), ("latent_image", 3)):
            assert node["inputs"].get(kind) in (None, [model, number])
        links = [value[0] for value in node["inputs"].values() if isinstance(value, list)]
        assert set(links) <= set(made)


def test_the_lower_half_of_a_photo_is_blurred_for_all_who_see_it():
    graph = saved("repair_the_worst_part", "api")
    made = with_quickstart(graph, blurred_below="Your photo")
    (photo,) = [number for number, node in made.items() if node["class_type"] == "IQAQuickstartPicture"]
    users = [node["class_type"] for node in made.values() if [photo, 0] in node["inputs"].values()]
    assert users == ["IQADistortImages"] and made["below"]["inputs"]["y"] == 32
    blurred = [node["class_type"] for node in made.values() if ["blur", 0] in node["inputs"].values()]
    assert blurred == [node["class_type"] for node in graph.values() if [photo, 0] in node["inputs"].values()] != []


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_thumbnail_shows_the_left_half_of_before_and_the_right_half_of_after(count):
    shades = [Image.new("RGB", (64, 64), (shade, 0, 0)) for shade in (80, 160, 240)][-count:]
    found = np.asarray(Image.open(io.BytesIO(thumbnail(shades, ["a", "b", "c"][:count]))))
    assert found.shape == (SIDE, SIDE, 3)
    left, right = found[SIDE // 2, SIDE // 4, 0], found[SIDE // 2, 3 * SIDE // 4, 0]
    assert abs(int(left) - (240 if count == 1 else 160)) < 5 and abs(int(right) - 240) < 5
    if count == 3:
        assert abs(int(found[20, 20, 0]) - 80) < 8
