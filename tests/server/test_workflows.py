"""Every workflow runs to the end, and does nothing where the adapter's strength is 0; those of the quickstart measured.

Workflows for checkpoints run with the quickstart in place of checkpoint, adapter and IQA models.
"""

from pathlib import Path

import pytest
import torch
from workflow_runs import FOLDER, Run, graph_of, quality, roughness, run

from comfyui_runtime import find_comfyui
from iqa_adapter.documentation.workflow_files import names

NAMES = sorted(path.stem for path in (FOLDER / "api").glob("*.json"))
RESULT = {  # what shows the workflow's result, and the key of the result in what ComfyUI notes
    "flux_quality_sliders": ("Before and After", "b_images"),
    "flux_reference_transfer": ("Before and After", "b_images"),
    "gradient_guidance": ("Neither and adapter", "b_images"),
    "quality_aesthetics_grid": ("Save the grid", "images"),
    "quickstart_match_picture": ("Save the drawings", "images"),
    "quickstart_mix_references": ("Before and After", "b_images"),
    "quickstart_quality_sweep": ("Save the grid", "images"),
    "quickstart_reference_transfer": ("Before and After", "b_images"),
    "reference_quality_onto_edit": ("Before and After", "b_images"),
    "repair_the_worst_part": ("Before and After", "b_images"),
    "restore_or_degrade_photo": ("Before and After", "b_images"),
    "sd15_quality_sliders": ("Before and After", "b_images"),
    "sdxl_quality_sliders": ("Before and After", "b_images"),
    "two_regions_two_qualities": ("Before and After", "b_images"),
    "upscale_with_quality": ("Before and After", "b_images"),
    "z_image_quality_sliders": ("Before and After", "b_images"),
    "z_image_reference_transfer": ("Before and After", "b_images"),
}


def without_strength(graph: dict) -> dict:
    for node in graph.values():
        if "strength" in node["inputs"]:
            node["inputs"]["strength"] = 0.0
    return graph


@pytest.fixture(scope="module", autouse=True)
def example(server):
    server.upload(find_comfyui() / "input" / "example.png")  # every ComfyUI comes with it


def test_every_workflow_is_described_and_tested():
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("*.py"))
    assert names() == NAMES and [name for name in NAMES if f'"{name}"' not in tests] == []


@pytest.mark.parametrize("name", RESULT)
def test_strength_0_draws_another_picture(server, name):
    asked = run(server, name).pictures(*RESULT[name])
    off = Run(server, without_strength(graph_of(name)))
    assert not torch.equal(asked, off.pictures(*RESULT[name]))
    if RESULT[name][1] == "b_images" and name not in ("quickstart_reference_transfer", *OF_A_PHOTO):
        before = off.pictures(RESULT[name][0], "a_images")  # there it is the one without adapter
        assert torch.equal(off.pictures(*RESULT[name]), before)


OF_A_PHOTO = ("restore_or_degrade_photo", "repair_the_worst_part")  # before is the photo itself


def test_the_sweep_follows_the_request(server):
    assert "\u03c1 1.00" in run(server, "quickstart_quality_sweep").result("Response Curve", "text")[0]


def test_the_transfer_gives_the_blur_of_the_reference(server):
    done = run(server, "quickstart_reference_transfer")
    before, after = (roughness(done.pictures("Before and After", key)) for key in ("a_images", "b_images"))
    assert (after < 0.8 * before).all()


def test_the_photo_is_scored(server):
    (score,) = run(server, "score_photo").result("Score Images", "scores")[0]["piqe"]
    assert 0 < score < 100
    assert run(server, "score_photo").pictures("Save the judged photo").shape[1] > 100


def test_the_trained_score_adapter_follows_the_request(server):
    sheet = run(server, "train_score_adapter").pictures("Save the samples")[0]
    cells = cells_of(sheet, rows=2)  # of prompts; columns of 1, 50 and 99 %
    levels = torch.tensor(quality(cells.flatten(0, 1))).view(2, 3)
    assert (levels[:, 2] > levels[:, 0] + 0.1).all(), levels


def test_the_trained_reference_adapter_follows_the_pictures_of_the_first_row(server):
    sheet = run(server, "train_reference_adapter").pictures("Save the samples")[0]
    blurred_noisy_good, *drawn = roughness(cells_of(sheet, rows=3))
    expected = [0, 2, 1]
    assert blurred_noisy_good.argsort().tolist() == expected
    assert [row.argsort().tolist() for row in drawn] == [expected, expected], drawn


def cells_of(sheet: torch.Tensor, rows: int) -> torch.Tensor:
    """Pictures of a sheet of samples of the quickstart, ``[rows, 3, 64, 64, 3]``; the sheet enlarges them twice."""
    height = (len(sheet) - 8) // rows
    corners = [[(8 + height * row, 8 + 136 * column) for column in range(3)] for row in range(rows)]
    return torch.stack([torch.stack([sheet[y : y + 128 : 2, x : x + 128 : 2] for y, x in row]) for row in corners])


@pytest.mark.parametrize("name", NAMES)
def test_the_quickstart_needs_no_file_that_is_not_there(name):
    """What the thumbnails run, too; a title that is wrong there is found here."""
    values = [value for node in graph_of(name).values() for value in node["inputs"].values()]
    files = {value for value in values if isinstance(value, str) and value.endswith(".safetensors")}
    assert files <= {"quickstart_score.safetensors", "quickstart_reference.safetensors"}


def test_each_is_a_template_with_a_thumbnail(server):
    assert sorted(server.get("/workflow_templates")["ComfyUI-IQA-Adapter"]) == NAMES
    for name in NAMES:
        assert server.get(f"/api/workflow_templates/ComfyUI-IQA-Adapter/{name}.jpg")[:3] == b"\xff\xd8\xff"
