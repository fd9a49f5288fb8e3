"""The facts that `streamer info` prints are those of the model."""

from streamer.analysis.facts import fact_rows, model_facts
from tests.analysis import made

BATCHES = ((1, 3.0), (4, 3.0), (1, 6.0))


def test_the_facts_are_those_of_the_architecture():
    facts = model_facts(made.model())
    assert facts.parameters == 7_423_472
    rows = dict(fact_rows(facts, 1, 3.0))
    assert rows["audio"] == "24,000 Hz, 1 channel"
    assert rows["embeddings"] == "128 dimensions, 75 a second"
    assert rows["bandwidths"] == "none: it has no codebooks"
    assert rows["memory for 1 x 3 s"] == "72 MB, offline"


def test_memory_grows_with_the_batch_and_its_length():
    sizes = [model_facts(made.model(), "cpu", batch_size, seconds).batch_bytes for batch_size, seconds in BATCHES]
    assert sizes[1] == 4 * sizes[0]
    assert sizes[2] == 2 * sizes[0]
