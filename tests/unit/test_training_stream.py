"""The stream of samples depends on seed and position alone."""

import numpy as np
import pytest
import torch
import training_models

from iqa_adapter.training import stream


def samples(count=64, dataset=None, **changes):
    settings = training_models.fast_settings(**changes)
    data = stream.ItemStream(dataset or training_models.QualitySet(), training_models.EMPTY, settings)
    return data, [data[position] for position in range(count)]


def test_every_epoch_shows_every_picture_once():
    _, seen = samples(128, text_drop=0.0)
    first, second = ([sample["quality"].item() for sample in part] for part in (seen[:64], seen[64:]))
    everything = training_models.QualitySet()
    assert sorted(first) == sorted(second) == sorted(everything[i]["quality"].item() for i in range(64))
    assert first != second
    assert not torch.equal(seen[0]["noise"], seen[1]["noise"])


def test_two_processes_see_what_one_sees():
    data, _ = samples(0)
    double = stream.ItemStream(data.dataset, training_models.EMPTY, training_models.fast_settings(batch_size=8))
    shares = zip(*(data.batches(16, 64, rank, 2) for rank in (0, 1)), strict=True)
    for (left, right), joint in zip(shares, double.batches(16, 64, 0, 1), strict=True):
        for name in ("latents", "noise", "quantiles", "quality", "keep"):
            assert torch.equal(torch.cat([getattr(left, name), getattr(right, name)]), getattr(joint, name))


def test_drop_rates():
    _, seen = samples(2000, quality_drop=0.1, text_drop=0.2, both_drop=0.3)
    no_quality = torch.tensor([sample["keep"] == 0 for sample in seen])
    no_text = torch.tensor([not sample["conditioning"]["cross_attn"].any() for sample in seen])
    rates = [(no_quality & ~no_text), (~no_quality & no_text), (no_quality & no_text)]
    expected = torch.tensor([0.1, 0.2, 0.3])
    deviation = (expected * (1 - expected) / len(seen)).sqrt()
    assert ((torch.stack(rates, 1).float().mean(0) - expected).abs() < 4 * deviation).all()


def test_timestep_power_moves_half_of_the_noise_levels_into_the_lowest_quarter():
    _, even = samples(2000)
    _, low = samples(2000, timestep_power=2.0)
    shares = [sum(sample["quantile"] < 0.25 for sample in seen) / len(seen) for seen in (even, low)]
    assert shares == pytest.approx([0.25, 0.5], abs=0.05)
    assert max(sample["quantile"] for sample in low) > 0.95


def test_dropped_text_takes_its_pooled_embedding_along_but_not_the_size():
    item = training_models.QualitySet(pooled=True)[0] | {"size": torch.tensor([512, 640, 1, 2, 500, 600])}
    empty = {**training_models.EMPTY, "pooled": torch.full((1280,), 7.0)}
    settings = training_models.fast_settings(text_drop=1.0, quality_drop=0.0, both_drop=0.0)
    conditioning = stream.ItemStream([item], empty, settings)[0]["conditioning"]
    assert (conditioning["pooled_output"] == 7).all()
    assert [conditioning[name] for name in stream.SIZES] == [512, 640, 1, 2, 500, 600]


def test_samples_that_cannot_be_used_are_named():
    good = training_models.QualitySet()[0]
    settings = training_models.fast_settings()
    with pytest.raises(ValueError, match="Item 0 of the training set has a quality input that is NaN"):
        stream.ItemStream([good | {"quality": torch.tensor([float("nan")])}], training_models.EMPTY, settings)[0]
    wide = good | {"latent": torch.zeros(4, 8, 16)}
    with pytest.raises(ValueError, match="differ in size"):
        next(iter(stream.ItemStream([good, wide], training_models.EMPTY, settings).batches(0, 4, 0, 1)))


class Mixed(torch.utils.data.Dataset):
    """Items that are their number, in groups of 5, 9 and 2."""

    buckets = np.repeat([0, 1, 2], [5, 9, 2])

    def __len__(self):
        return len(self.buckets)

    def __getitem__(self, index):
        side = 8 + 8 * int(self.buckets[index])
        return {"latent": torch.zeros(4, side, 8), "quality": torch.tensor([float(index)]), **training_models.EMPTY}


def test_every_batch_comes_from_one_bucket():
    settings = training_models.fast_settings(batch_size=4)
    data = stream.ItemStream(Mixed(), training_models.EMPTY, settings)
    epoch = 4 * (2 + 3 + 1)
    batches = list(data.batches(0, 2 * epoch, 0, 1))  # collating refuses mixed sizes
    first, second = ([int(q) for batch in part for q in batch.quality] for part in (batches[:6], batches[6:]))
    assert set(first) == set(second) == set(range(16)) and first != second
    halves = zip(*(data.batches(0, 2 * epoch, rank, 2) for rank in (0, 1)), strict=True)
    assert [int(q) for pair in halves for batch in pair for q in batch.quality] == first + second
    late = list(data.batches(epoch, 2 * epoch, 0, 1))
    assert [int(q) for batch in late for q in batch.quality] == second
