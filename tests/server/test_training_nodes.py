"""Score Dataset and Train IQA-Adapter in one graph on the real server: trained, cancelled, gone on with."""

import asyncio
import contextlib
import copy
import json
import re
import time
import urllib.request
from pathlib import Path

import aiohttp
import folder_paths
import numpy as np
import pytest
import training_pictures
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
            "settings": "bucket_step: 8\nsample_steps: 2\nsample_prompts: [a red circle]",
        },
    },
    "text": {"class_type": "PreviewAny", "inputs": {"source": ["train", 2]}},
    "plot": {"class_type": "PreviewImage", "inputs": {"images": ["train", 1]}},
}


TEXT = b"\0\0\0\3"  # first bytes of a message with a node's progress text


async def texts_at_node(server, graph, node):
    """What the node shows while the graph runs, and the outputs."""
    said = []
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{server.address}/ws") as socket:
        run = asyncio.create_task(asyncio.to_thread(server.outputs_of, graph))
        while not run.done():
            with contextlib.suppress(asyncio.TimeoutError):
                message = await socket.receive(timeout=0.5)
                if message.type is aiohttp.WSMsgType.BINARY and message.data.startswith(TEXT):
                    length = 8 + int.from_bytes(message.data[4:8], "big")
                    said += [message.data[length:].decode()] if message.data[8:length].decode() == node else []
        return said, await run


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
    with Image.open(Path(folder_paths.get_temp_directory()) / outputs["plot"]["images"][0]["filename"]) as plot:
        assert np.asarray(plot).std() > 10


def test_what_the_node_shows_at_the_end_is_the_result(server, pictures):
    said, outputs = asyncio.run(texts_at_node(server, graph(pictures, "shown", steps=3), "train"))
    assert said[0] == "preparing the pictures" and re.match(r"step 2 of 3, loss .*, 0:\d\d left", said[2])
    assert re.match(r"3 steps done, loss \d.*: .*shown.safetensors$", said[-1])
    assert outputs["train"]["text"] == [said[-1]] and outputs["train"]["images"]


def test_pictures_without_caption_are_said_at_the_node(server, tmp_path):
    folder = training_pictures.write(tmp_path / "photos", 4)
    (folder / "02.txt").unlink()
    (folder / "00.tar").write_bytes(b"damaged")
    said, outputs = asyncio.run(texts_at_node(server, graph(folder, "few", steps=1, sample_interval=0), "train"))
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


def test_the_quickstart_takes_its_own_size_where_none_was_chosen(server, pictures):
    def known(name):
        record = server.log.parent / "iqa_training" / name / "run.json"
        return json.loads(record.read_text())["settings"]["resolution"]

    server.outputs_of(graph(pictures, "own_size", steps=1, sample_interval=0, resolution=512))
    assert known("own_size") == 64
    server.outputs_of(graph(pictures, "chosen_size", steps=1, sample_interval=0, resolution=96))
    assert known("chosen_size") == 96


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
        ("train", {"pictures": " "}, "pictures is empty"),
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
