"""Weights in every layout there is become the same encoder."""

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.utils import parametrizations, remove_weight_norm

from streamer.codec import import_encodec
from streamer.codec.weights import META_24KHZ, WeightsError, load_encoder
from tests.codec.truth import TOLERANCE, encodec_model, encoder, new_encodec_model, noise, offline, relative_error

SENTENCE = r"^[^\n]+\.$"


def original():
    return without_most(encodec_model().state_dict())


def without_most(tensors):
    """The encoder, and of decoder and codebooks a little to be passed over: whole models would fill the disk."""
    passed_over = ("decoder.model.0.", "quantizer.vq.layers.0.")
    return {key: tensor for key, tensor in tensors.items() if key.startswith(("encoder.", *passed_over))}


def encoder_alone():
    return dict(encodec_model().encoder.state_dict())


def folded():
    return {f"encoder.{key}": tensor for key, tensor in encoder().state_dict().items()}


def half():
    return {key: tensor.half() for key, tensor in original().items()}


def parametrized():
    model = new_encodec_model()
    for module in model.encoder.modules():
        if hasattr(module, "weight_g"):
            remove_weight_norm(module)
            parametrizations.weight_norm(module)
    return without_most(model.state_dict())


def hugging_face(tensors):
    """The keys that transformers' conversion of EnCodec gives."""
    return {
        key.replace("encoder.model.", "encoder.layers.").replace(".conv.conv.", ".conv."): tensor
        for key, tensor in tensors.items()
    }


LAYOUTS = {
    "original": original,
    "encoder alone": encoder_alone,
    "folded": folded,
    "half": half,
    "parametrized": parametrized,
    "Hugging Face": lambda: hugging_face(original()),
    "Hugging Face parametrized": lambda: hugging_face(parametrized()),
    "Hugging Face folded": lambda: hugging_face(folded()),
}


@pytest.mark.parametrize("suffix", [".safetensors", ".th"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_encoder(layout, suffix, tmp_path):
    path, tensors = tmp_path / f"weights{suffix}", LAYOUTS[layout]()
    if suffix == ".th":
        torch.save(tensors, path)
    else:
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
    loaded = load_encoder(path)
    audio = noise(2400)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert relative_error(loaded(audio), offline(audio)) <= (0.01 if layout == "half" else TOLERANCE)


def test_the_layouts_of_these_tests_are_what_they_are_called():
    """Guards the helpers above against renaming nothing."""
    assert "encoder.model.0.conv.conv.weight_g" in original()
    assert "encoder.model.1.block.3.conv.conv.parametrizations.weight.original1" in parametrized()
    assert "encoder.layers.1.shortcut.conv.weight_v" in hugging_face(original())
    assert "encoder.layers.15.conv.parametrizations.weight.original0" in hugging_face(parametrized())
    assert "encoder.layers.13.lstm.weight_hh_l1" in hugging_face(folded())


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsError, match=SENTENCE) as caught:
        load_encoder(tmp_path / "nothing.th")
    assert str(tmp_path / "nothing.th") in str(caught.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".th"])
@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 broken zip"], ids=["empty", "text", "broken"])
def test_a_file_of_another_kind_is_refused(content, suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=SENTENCE) as caught:
        load_encoder(path)
    assert str(path) in str(caught.value)


def test_a_file_that_would_run_code_is_refused_and_does_not(tmp_path):
    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    path = tmp_path / "weights.th"
    torch.save({"encoder.model.0.conv.conv.weight": Attack()}, path)
    with pytest.raises(WeightsError, match=SENTENCE):
        load_encoder(path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "content",
    [
        {"encoder.model.0.conv.conv.weight": torch.zeros(32, 1, 7)},
        {key: tensor for key, tensor in encoder().state_dict().items() if "lstm" not in key},
        {"encoder.layers.0.conv.weight_g": torch.zeros(32, 1, 1)},
        {},
        torch.zeros(3),
    ],
    ids=["one layer", "no LSTM", "half a weight", "nothing", "no mapping"],
)
def test_a_file_with_other_contents_is_refused(content, tmp_path):
    path = tmp_path / "weights.th"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=SENTENCE) as caught:
        load_encoder(path)
    assert str(path) in str(caught.value)


def test_the_48_khz_models_weights_are_refused(tmp_path):
    path = tmp_path / "weights.th"
    torch.save(without_most(import_encodec().EncodecModel.encodec_model_48khz(pretrained=False).state_dict()), path)
    with pytest.raises(WeightsError, match="24 kHz"):
        load_encoder(path)


def test_metas_file_is_the_published_one():
    assert META_24KHZ.name == "encodec_24khz-d7cc33bc.th"
    assert META_24KHZ.sha256.startswith("d7cc33bc")  # the name carries the beginning of the sum
    assert META_24KHZ.size == 93_171_529
