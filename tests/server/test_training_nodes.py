"""Score Dataset and Train IQA-Adapter in one graph on the real server: trained, cancelled, gone on with."""

import copy
import io
import json
import re
import shutil
import time
import urllib.request
from pathlib import Path

import folder_paths
import numpy as np
import pytest
import training_pictures
from node_texts import shown_at_node
from PIL import Image

from comfyui_client import GraphRefused
from iqa_adapter.adapter import checkpoint

GRAPH = {
    "model": {"class_type": "IQAQuickstartModel", "inputs": {"batch_size": 1}},
    "metric": {"class_type": "IQAModelLoader", "inputs": {"metric": "entropy"}},
    "score": {
        "class_type": "IQAScoreDataset",
        "inputs": {"iqa_model": ["metric", 0], "kind": "scores", "protocol": "as is"},
    },
    "train": {
        "class_type": "IQAAdapterTrain",
        "inputs": {
            "model": ["model", 0],
            "clip": ["model", 1],
            "vae": ["model", 2],
            "table": ["score", 0],
            "batch_size": 2,
            "learning_rate": 1e-2,
            "resolution": 64,
            "seed": 1,
            "sample_interval": 2,
            "settings": "sample_steps: 2\nsample_prompts: [a red circle]",
        },
    },
    "text": {"class_type": "PreviewAny", "inputs": {"source": ["train", 2]}},
    "plot": {"class_type": "PreviewImage", "inputs": {"images": ["train", 1]}},
}
SAMPLES = {"class_type": "PreviewImage", "inputs": {"images": ["train", 3]}}


def opened(server, output):
    """The pictures among a node's outputs."""
    return [Image.open(io.BytesIO(server.picture(shown))) for shown in output["images"]]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return training_pictures.write(tmp_path_factory.mktemp("training") / "photos", 4)


def graph(pictures, name, steps=4, **changes):
    graph = copy.deepcopy(GRAPH)
    graph["score"]["inputs"] |= {"pictures": str(pictures), "name": f"table_{name}"}
    graph["train"]["inputs"] |= {"pictures": str(pictures), "name": name, "steps": steps} | changes
    return graph


def test_an_adapter_is_trained_in_a_graph(server, pictures):
    outputs = server.outputs_of(graph(pictures, "trained"))
    assert outputs["score"]["text"][0].startswith("4 of 4 pictures: entropy (score")
    path = Path(outputs["text"]["text"][0])
    assert path.name == "trained.safetensors"
    adapter = checkpoint.load_adapter(path)
    assert adapter.metadata.metric_names == ("entropy",)
    loader = server.get("/object_info/IQAAdapterLoader")["IQAAdapterLoader"]["input"]["required"]
    assert path.name in str(loader["adapter_name"])
    run = server.log.parent / "iqa_training" / "trained"
    assert sorted(file.name for file in (run / "samples").iterdir()) == ["000002.png", "000004.png"]
    assert len((run / "loss.jsonl").read_text().splitlines()) == 4
    (plot,) = opened(server, outputs["plot"])
    assert np.asarray(plot).std() > 10


def test_the_node_shows_samples_on_the_way_and_the_result_at_the_end(server, pictures):
    wanted = graph(pictures, "shown", steps=3) | {"samples": SAMPLES}
    said, previews, outputs = shown_at_node(server, wanted, "train")
    second = next(number for number, text in enumerate(said) if re.match(r"step 2 of 3, loss .*, 0:\d\d left", text))
    assert said.index("preparing the pictures") < second  # between them stands what the user should know
    assert re.match(r"3 steps done, loss \d.*: .*shown.safetensors$", said[-1])
    assert outputs["train"]["text"][-1] == said[-1]
    folder = server.log.parent / "iqa_training" / "shown" / "samples"
    sheets = [Image.open(folder / name) for name in ("000002.png", "000003.png")]  # the second is of the result
    assert sorted(file.name for file in folder.iterdir()) == ["000002.png", "000003.png"]
    assert [similar(preview, sheet) for preview, sheet in zip(previews[:-1], sheets, strict=True)] == [True, True]
    ((output,), (samples, plot)) = opened(server, outputs["samples"]), opened(server, outputs["train"])
    assert np.array_equal(samples, sheets[1]) and np.array_equal(output, sheets[1])
    assert np.array_equal(plot, opened(server, outputs["plot"])[0])
    together = previews[-1]  # stays at the node, in place of the outputs
    assert together.width == plot.width == 640 and similar(
        together.crop((0, together.height - plot.height, 640, together.height)), plot
    )


def similar(one, other):
    """Whether two pictures differ by no more than by scaling and JPEG's compression."""
    other = other.resize(one.size)
    return np.abs(np.asarray(one.convert("RGB"), float) - np.asarray(other.convert("RGB"), float)).mean() < 8


def test_without_samples_what_needs_them_does_not_run_and_the_rest_does(server, pictures):
    wanted = graph(pictures, "unseen", steps=1, sample_interval=0) | {"samples": SAMPLES}
    outputs = server.outputs_of(wanted)
    assert "samples" not in outputs and len(outputs["train"]["images"]) == 1 and outputs["text"]["text"]


def test_a_run_that_has_ended_shows_its_samples_again(server, pictures):
    server.outputs_of(graph(pictures, "ended", steps=1))
    again = graph(pictures, "ended", steps=1, sample_interval=3)  # free to change, and the graph runs anew
    assert len(server.outputs_of(again)["train"]["images"]) == 2


def test_a_deleted_table_is_made_again_and_what_changed_is_told_at_the_node(server, tmp_path):
    folder = training_pictures.write(tmp_path / "photos", 3)
    scored = {name: copy.deepcopy(GRAPH[name]) for name in ("metric", "score")}
    scored["score"]["inputs"] |= {"pictures": str(folder), "name": "deleted"}
    table = Path(server.outputs_of(scored)["score"]["text"][0].splitlines()[-1])
    server.outputs_of(scored)
    shutil.rmtree(table)
    server.outputs_of(scored)
    assert (table / "table.json").is_file()
    next(folder.glob("*.png")).unlink()
    assert "1 rows are of pictures that are gone" in server.outputs_of(scored)["score"]["text"][0]


def test_the_folder_is_chosen_once_from_a_list(server, pictures):
    chosen = training_pictures.write(Path(folder_paths.get_input_directory()) / "iqa_test" / "chosen", 4)
    for node in ("IQAScoreDataset", "IQAAdapterTrain"):
        assert "iqa_test/chosen" in str(server.get(f"/object_info/{node}")[node]["input"]["optional"]["folder"])
    wanted = graph("", "handed_on", steps=1, sample_interval=0)
    wanted["score"]["inputs"]["folder"] = "iqa_test/chosen"
    wanted["train"]["inputs"]["pictures"] = ["score", 2]
    wanted["show"] = {"class_type": "PreviewAny", "inputs": {"source": ["score", 2]}}
    assert server.outputs_of(wanted)["show"]["text"] == [str(chosen)]
    record = server.log.parent / "iqa_training" / "handed_on" / "run.json"
    assert record.is_file()


def test_a_set_with_nothing_to_train_on_is_refused_before_anything_runs(server, pictures):
    nothing = graph(" ", "nothing")
    with pytest.raises(GraphRefused, match="No folder of pictures is chosen. It may lie in ComfyUI's input folder"):
        server.queue(nothing)
    gone = graph("", "nothing")
    for node in ("score", "train"):
        gone[node]["inputs"]["folder"] = "gone"
    with pytest.raises(GraphRefused, match="There is no folder gone in ComfyUI's input folder any more"):
        server.queue(gone)


def test_the_pictures_of_the_quickstart_are_drawn_once(server):
    draw = {"class_type": "IQAQuickstartTrainingPictures", "inputs": {"count": 12, "clean": 0.5, "variant": 3}}
    graph = {"draw": draw, "show": {"class_type": "PreviewAny", "inputs": {"source": ["draw", 0]}}}
    outputs = server.outputs_of(graph)
    folder = Path(outputs["show"]["text"][0])
    assert len(list(folder.glob("*.png"))) == len(list(folder.glob("*.txt"))) == 12
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    (folder / "004.png").unlink()
    draw["inputs"]["clean"] = 0.50000001  # so that the node runs again
    assert server.outputs_of(graph)["show"]["text"] == [str(folder)]
    after = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert [file.name for file in before if before[file] != after[file]] == ["004.png", "004.txt"]


def test_resize_auto_is_what_the_iqa_model_is_used_with(server, pictures):
    wanted = graph(pictures, "auto")
    wanted["score"]["inputs"]["protocol"] = "auto"
    del wanted["train"], wanted["text"], wanted["plot"]
    assert "resize 512)" in server.outputs_of(wanted)["score"]["text"][0]
    wanted["metric"]["inputs"]["metric"] = "quickstart_iqa"
    wanted["score"]["inputs"]["name"] = "auto_64"
    assert "resize 64)" in server.outputs_of(wanted)["score"]["text"][0]


def test_pictures_without_caption_are_said_at_the_node(server, tmp_path):
    folder = training_pictures.write(tmp_path / "photos", 4)
    (folder / "02.txt").unlink()
    (folder / "00.tar").write_bytes(b"damaged")
    said, _, outputs = shown_at_node(server, graph(folder, "few", steps=1, sample_interval=0), "train")
    without = "1 of 4 pictures have no caption and are left out: 02.png: no 02.txt beside it."
    assert without in said and without in outputs["train"]["text"]
    assert "cannot be used and are left out: 00.tar is damaged" in outputs["score"]["text"][0]
    for number in (0, 1):
        (folder / f"{number:02d}.txt").unlink()
    refused = server.error_of(graph(folder, "fewer", steps=1))
    assert "Only 1 of 4 pictures have a caption, fewer than half" in refused


def test_pictures_that_came_into_a_subfolder_are_scored(server, tmp_path):
    folder = training_pictures.write(tmp_path / "photos", 4)
    (folder / "sub").mkdir()
    scoring = {name: node for name, node in graph(folder, "below").items() if name in ("metric", "score")}
    assert server.outputs_of(scoring)["score"]["text"][0].startswith("4 of 4 pictures")
    (folder / "03.png").rename(folder / "sub" / "03.png")
    Image.new("RGB", (80, 64), "red").save(folder / "sub" / "new.png")
    assert server.outputs_of(scoring)["score"]["text"][0].startswith("5 of 5 pictures")


@pytest.mark.parametrize(("given", "taken"), [(0, 64), (512, 64), (96, 96)])  # 512 was the default of 0.1.0
def test_the_quickstart_takes_its_own_size_where_none_was_chosen(server, pictures, given, taken):
    server.outputs_of(graph(pictures, f"size_{given}", steps=1, sample_interval=0, resolution=given))
    record = server.log.parent / "iqa_training" / f"size_{given}" / "run.json"
    assert json.loads(record.read_text())["settings"]["resolution"] == taken


def test_a_run_that_is_another_one_is_refused(server, pictures):
    server.outputs_of(graph(pictures, "same", steps=1, sample_interval=0))
    other = graph(pictures, "same", steps=2, sample_interval=0, settings="tokens: 3")
    assert "tokens 2, now 3" in server.error_of(other)


def test_a_cancelled_training_keeps_what_it_has_and_goes_on(server, pictures):
    long = graph(pictures, "cancelled", steps=5000, sample_interval=0)
    prompt_id = server.queue(long)
    log = server.log.parent / "iqa_training" / "cancelled" / "loss.jsonl"
    deadline = time.monotonic() + 120
    while not (log.is_file() and len(log.read_text().splitlines()) >= 2):
        assert time.monotonic() < deadline, server.log.read_text()[-2000:]
        time.sleep(0.1)
    urllib.request.urlopen(urllib.request.Request(server.address + "/interrupt", b"{}"), timeout=10).close()
    while prompt_id not in server.get("/history"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    done = len(log.read_text().splitlines())
    assert 2 <= done < 5000 and (log.parent / "checkpoint.pt").is_file()
    checkpoint.load_adapter(log.parent / "adapter.safetensors")
    said = f"Cancelled at step {done} of 5000. What was learnt is kept, as the adapter cancelled.safetensors, too; "
    assert f"{said}queue it again to go on from there." in server.log.read_text()
    server.outputs_of(graph(pictures, "cancelled", steps=done + 1, sample_interval=0))
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == list(range(1, done + 2))


@pytest.mark.parametrize(
    ("node", "changes", "message"),
    [
        ("train", {"pictures": "no such folder"}, "There is no .*no such folder; give a folder"),
        ("train", {"settings": "tokkens: 3"}, "settings: unknown setting tokkens"),
        ("train", {"settings": "metrics: [topiq_nr]"}, "has no such column"),
        ("score", {"protocol": "as is", "kind": "activations"}, "entropy is computed by a formula and has no layers"),
    ],
)
def test_bad_input_ends_in_one_sentence(server, pictures, node, changes, message):
    wrong = graph(pictures, "wrong")
    wrong[node]["inputs"] |= changes
    wrong["score"]["inputs"]["name"] = wrong["score"]["inputs"]["kind"]
    error = server.error_of(wrong).strip()
    assert re.search(message, error), error
    assert "\n" not in error


def test_names_are_checked_before_anything_runs(server, pictures):
    wrong = graph(pictures, "../elsewhere")
    wrong["score"]["inputs"]["name"] = "a/b"
    with pytest.raises(GraphRefused) as refused:
        server.queue(wrong)
    for name in ("../elsewhere", "a/b"):
        assert f"name must be a plain file name, without folders, not '{name}'" in str(refused.value)


@pytest.mark.parametrize("name", ["", "cache", "con", 300 * "a", "a\nb"])
def test_names_that_no_folder_can_have_are_refused(server, pictures, name):
    wrong = graph(pictures, name)
    wrong["score"]["inputs"]["name"] = name  # what is left of a graph would run, if a part of it were right
    with pytest.raises(GraphRefused, match="name must be a plain file name"):
        server.queue(wrong)
