"""One process of a launch that scores shards and reads what would be learnt of them.

Usage: ``shards_process.py SET FOLDER BATCH_SIZE BEGIN END``; writes the samples of the positions BEGIN to END, of two
sets, with and without cache, into ``samples-RANK.pt``.
"""

import sys
from pathlib import Path

import conftest  # noqa: F401  finds the repository and loads the pack
import torch

from iqa_adapter.iqa_models.loading import load_iqa_model
from iqa_adapter.pictures import reading
from iqa_adapter.quickstart.model import load_quickstart
from iqa_adapter.training.dataset import TrainingSet
from iqa_adapter.training.encoder import Encoder, Models
from iqa_adapter.training.encoding import Encoding
from iqa_adapter.training.find_together import find_together
from iqa_adapter.training.observer import Observer
from iqa_adapter.training.processes import processes
from iqa_adapter.training.score_set import Scorer, score_dataset
from iqa_adapter.training.settings import DataSettings, TrainingSettings
from iqa_adapter.training.stream import ItemStream
from iqa_adapter.training.table import ScoredTable


def samples(source: Path, folder: Path, batch_size: int, begin: int, end: int) -> list[dict]:
    """Batches of this process, with the text and everything that is drawn."""
    reading.INDEXED = 1
    pictures, found = find_together(source), []
    score_dataset(pictures, Scorer([load_iqa_model("entropy")], "as is"), folder / "table", shard_size=2)
    models, group = Models(*load_quickstart()), processes()
    for cache in (True, False):
        settings = DataSettings(resolution=64, bucket_step=8, buckets=True, cache=cache)
        table = ScoredTable.read(folder / "table")
        encoder = Encoder(models, table, settings)
        made = Encoding(TrainingSet(pictures, table, encoder, settings, folder / "cache"), encoder)
        made.prepare(Observer())
        learning = TrainingSettings(batch_size=batch_size, workers=2 * cache)
        stream = ItemStream(made.items, made.empty_text, learning, made.finish)
        for batch in stream.batches(begin, end, group.process_index, group.num_processes):
            found.append({name: getattr(batch, name) for name in ("latents", "noise", "quantiles", "quality", "keep")}
                         | {"text": [entry["cross_attn"] for entry in batch.conditionings]})  # fmt: skip
    return found


if __name__ == "__main__":
    where, into, *numbers = sys.argv[1:]
    found = samples(Path(where), Path(into), *map(int, numbers))
    torch.save(found, Path(into) / f"samples-{processes().process_index}.pt")
