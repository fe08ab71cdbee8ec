"""Mixtures of reference activations do on the quickstart what their names say; the benchmark measures all of them."""

from iqa_adapter.evaluation.reference_arithmetic import measured, table


def test_differences_weights_and_negatives_do_what_they_say():
    names = "A", "A + what B has over C", "D and E, weights 4 and 1", "B, negative E"
    found = measured(2, names)
    clean, added, weighted, negative = (
        dict(zip(("noise", "blur", "pale"), found[name], strict=True)) for name in names
    )
    assert added["noise"] > clean["noise"] + 0.2 and added["pale"] < 0.1
    assert weighted["blur"] > 0.3 and weighted["noise"] < 0.2
    assert negative["noise"] < 0.2, "B alone is noisy"
    assert table(found).rows[1][:2] == [names[1], f"{added['noise']:.2f}"]
