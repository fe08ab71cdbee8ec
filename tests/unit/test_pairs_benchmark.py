"""Benchmarks over pairs of a prompt and a seed go on where they were ended."""

from benchmarks.pairs import each_pair


def test_a_run_goes_on_where_it_was_ended(tmp_path):
    keep, asked = tmp_path / "pairs.jsonl", []

    def measure(pair: int) -> dict:
        asked.append(pair)
        return {"score": pair / 2}

    settings = {"budget": 4}
    each_pair(2, measure, keep, settings)
    with keep.open("a") as file:
        file.write('\n{"settings": {"budget": 4}, "pair": 2, "fou')  # a run that was killed while it wrote
    assert each_pair(4, measure, keep, settings) == [{"score": pair / 2} for pair in range(4)]
    assert each_pair(4, measure, keep, settings)[3] == {"score": 1.5} and asked == [0, 1, 2, 3]
    each_pair(1, measure, keep, {"budget": 8})
    each_pair(1, measure, None, settings)
    assert asked == [0, 1, 2, 3, 0, 0]
