"""What pictures show: CLIP on narrow weights, diversity, distance; recognising distortions by activations."""

import json

import folder_paths
import numpy as np
import pytest
import torch
from clip.model import CLIP

from iqa_adapter.evaluation import clip_score, content, recognising
from iqa_adapter.evaluation import references as the_references
from iqa_adapter.evaluation.cells import Store
from iqa_adapter.evaluation.measures import find_measure
from iqa_adapter.evaluation.prompts import Prompt, read_prompts
from iqa_adapter.evaluation.references import references
from iqa_adapter.pictures.distortions import KINDS


class Drawn:
    """A session whose pictures are there."""

    def __init__(self, store, prompts=()):
        self.store, self.prompts = store, prompts

    def values(self, cells, name):
        return find_measure(name).of(torch.stack([self.store.read(cell.digest) for cell in cells])).numpy()


@pytest.fixture()
def clip_file(tmp_path, monkeypatch):
    """Narrow CLIP of random weights where ViT-L-14.pt belongs."""
    torch.manual_seed(0)
    net = CLIP(32, 32, 1, 64, 16, 77, 49408, 64, 1, 1)
    folder = tmp_path / "iqa"
    folder.mkdir()
    torch.save(net.state_dict(), folder / clip_score.FILE)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "iqa", ([str(folder)], {".pt"}))
    yield folder / clip_score.FILE
    clip_score.load.cache_clear()


def test_clip_is_used_where_its_weights_are(clip_file, tmp_path):
    session = Drawn(Store(tmp_path), [Prompt("a cat")])
    assert content.reader_of(session) is content.CLIP
    pictures = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    seen = find_measure(clip_score.NAME).of(pictures)
    told = clip_score.load().embed_texts(["a cat", "a dog " * 100])
    assert seen.shape == (3, 32) and torch.allclose(seen.norm(dim=1), torch.ones(3)) and told.shape == (2, 32)
    assert not torch.allclose(seen[0], seen[1]) and not torch.allclose(told[0], told[1])
    clip_file.unlink()
    assert content.reader_of(session) is content.PIXELS
    assert content.reader_of(Drawn(Store(tmp_path), read_prompts("held-out", 1))) is content.READER


def test_references_are_even_over_severity_and_told_apart_by_activations(tmp_path):
    store = Store(tmp_path)
    given, examples = references("scenes", 8, 64, store), references("scenes", 12, 64, store, variant=1)
    assert np.array_equal(np.sort((given.severity * 8).astype(int)), np.arange(8)) and given.content.shape == (8, 5)
    assert not {kept.digest for kept in given.kept["clean"]} & {kept.digest for kept in examples.kept["clean"]}
    session = Drawn(store)
    reader = recognising.NearestCentroid(session, "quickstart_iqa", examples)
    seen = [reader.kinds(given.kept[kind])[given.severity >= recognising.VISIBLE] for kind in KINDS]
    assert np.mean([(of == number).mean() for number, of in enumerate(seen)]) > 0.5  # chance is 0.125
    noise = reader.severity(given.kept["white_noise"], "white_noise")
    assert np.corrcoef(noise, given.severity)[0, 1] > 0.8


def test_references_are_made_once_and_again_where_one_is_missing(tmp_path, monkeypatch):
    store, calls = Store(tmp_path), []
    distort = the_references.distort
    monkeypatch.setattr(the_references, "distort", lambda *given: calls.append(given[1]) or distort(*given))
    first, again = references("scenes", 4, 64, store), references("scenes", 4, 64, store)
    assert first.kept == again.kept and calls == list(KINDS)
    store.path(first.kept["jpeg"][2].digest).unlink()
    assert references("scenes", 4, 64, store).kept == first.kept and len(calls) == 2 * len(KINDS)
    (listed,) = (tmp_path / "sets").iterdir()
    listed.write_text(json.dumps({kind: ["../../elsewhere"] * 4 for kind in KINDS}))
    assert references("scenes", 4, 64, store).kept == first.kept, "a list of a stranger names no files elsewhere"
    counted = references("scenes", 4, 64, Store(tmp_path / "none", counts_only=True))
    assert len({kept for of in counted.kept.values() for kept in of}) == 4 * len(KINDS)
    assert len(calls) == 3 * len(KINDS) and not (tmp_path / "none").exists()


def test_photographs_are_references_too(tmp_path):
    given = references("photographs", 13, 64, Store(tmp_path))
    assert {len(kept) for kept in given.kept.values()} == {13} and given.content.shape == (13, 0)
    assert len({kept.digest for kept in given.kept["clean"]}) == 13
