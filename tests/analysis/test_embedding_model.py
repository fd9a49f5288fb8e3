"""A model is loaded from a checkpoint or from a file of an encoder's weights."""

import pytest
import torch
from safetensors.torch import save_file

from streamer.analysis.embedding_model import load_embedding_model
from streamer.errors import StreamerError
from tests.analysis.made import checkpoint, model


def test_a_checkpoint_brings_pooling_and_the_level_normaliser():
    loaded = load_embedding_model(str(checkpoint()))
    assert loaded.title == "random"
    assert loaded.pooling is not None
    assert loaded.quantizer is None
    assert loaded.level_normalized


@pytest.mark.parametrize("suffix", ["th", "safetensors"])
def test_bare_weights_bring_an_encoder_alone(tmp_path, suffix):
    path, weights = tmp_path / f"encoder.{suffix}", model().encoder.state_dict()
    if suffix == "th":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    loaded = load_embedding_model(str(path))
    assert all(torch.equal(tensor, weights[name]) for name, tensor in loaded.encoder.state_dict().items())
    assert (loaded.quantizer, loaded.pooling, loaded.level_normalized) == (None, None, False)


@pytest.mark.parametrize("name", ["half.th", "half.safetensors", "missing.safetensors"])
def test_a_damaged_or_missing_file_is_refused_by_name(tmp_path, name):
    if name.startswith("half"):
        (tmp_path / name).write_bytes(b"\x10" * 64)
    with pytest.raises(StreamerError, match=name):
        load_embedding_model(str(tmp_path / name))
