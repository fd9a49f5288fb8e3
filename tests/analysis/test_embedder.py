"""Rows of recordings equal those of the offline encoder and of the encodec package."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from streamer.analysis.embedder import Embedder
from streamer.analysis.settings import EmbedSettings
from streamer.decoding.files import read_blocks, read_whole
from tests.analysis.embedding import embed
from tests.analysis.made import checkpoint, model, write

pytestmark = pytest.mark.slow  # models are loaded, or whole programs run


def test_each_recording_has_its_own_offline_embedding(folder, tmp_path):
    """Batches of unequal lengths, each clip mirrored at its own end."""
    written = embed([folder], tmp_path, frames=True, level=False)
    for name, first, rows in zip(written.names, written.first_rows, written.rows, strict=True):
        samples, _ = soundfile.read(folder / name, dtype="float32")
        with torch.no_grad():
            expected = model().encoder(torch.from_numpy(samples)[None, None])[0].T.numpy()  # [F, 128]
        assert len(expected) == rows
        np.testing.assert_allclose(written.embeddings[first : first + rows], expected, rtol=1e-5, atol=1e-5)


def test_levelled_embeddings_are_those_of_the_model(folder, tmp_path):
    """A checkpoint of this program gets the level normaliser that it was trained behind, unless told otherwise."""
    from streamer import EmotionDetectionModel

    written = embed([folder], tmp_path, frames=True)
    whole = EmotionDetectionModel.from_checkpoint(checkpoint())
    last = len(written.names) - 1
    samples, _ = soundfile.read(folder / written.names[last], dtype="float32")
    with torch.no_grad():
        expected = whole.get_embeddings(torch.from_numpy(samples)[None, None])[0].T.numpy()
    np.testing.assert_allclose(written.embeddings[written.first_rows[last] :], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("pool", "width"), [("mean", 128), ("max", 128), ("attention", 128), ("learned", 256), ("multi", 384)]
)
@pytest.mark.parametrize("rate", [24_000, 16_000])
def test_a_recording_gives_the_same_row_whether_read_whole_or_streamed(tmp_path, pool, width, rate):
    path = write(tmp_path / "a.wav", 0.7, rate=rate, channels=2)
    embedder = Embedder(model(), EmbedSettings(pool=pool, level=True))
    (whole,) = embedder.whole([read_whole(path)])
    pieces = [piece for block in read_blocks(path) for piece in np.array_split(block, 9)]
    streamed = np.concatenate(list(embedder.streamed(pieces)))
    assert whole.shape == streamed.shape == (1, width)
    np.testing.assert_allclose(streamed, whole, rtol=1e-5, atol=1e-5)


def test_other_settings_do_not_share_a_cache():
    keys = [
        Embedder(model(), EmbedSettings(pool=pool, level=level)).key
        for pool in ("mean", None)
        for level in (True, False)
    ]
    assert len(set(keys)) == 4


@pytest.fixture(scope="session")
def encodec_file(tmp_path_factory):
    """Weights of a whole EnCodec model, with codebooks, as its package saves them."""
    from streamer.codec import import_encodec

    torch.manual_seed(3)
    model = import_encodec().EncodecModel.encodec_model_24khz(pretrained=False)
    for layer in model.quantizer.vq.layers:
        layer._codebook.embed.copy_(0.05 * torch.randn(layer._codebook.embed.shape))
    path = tmp_path_factory.mktemp("encodec") / "encodec.th"
    torch.save(model.state_dict(), path)
    return path, model.requires_grad_(False)


def test_codes_and_what_they_keep_are_those_of_encodec(folder, tmp_path, encodec_file):
    path, encodec = encodec_file
    codes = embed([folder], tmp_path / "codes", path, kind="codes", bandwidth=3.0)
    kept = embed([folder], tmp_path / "kept", path, kind="quantized", bandwidth=3.0, frames=True)
    assert codes.embeddings.dtype == np.int16
    assert codes.embeddings.shape[1] == 4
    samples, _ = soundfile.read(folder / codes.names[-1], dtype="float32")
    encodec.set_target_bandwidth(3.0)
    [(expected, _)] = encodec.encode(torch.from_numpy(samples)[None, None])
    assert np.array_equal(codes.embeddings[codes.first_rows[-1] :], expected[0].T.numpy())
    decoded = encodec.quantizer.decode(expected.transpose(0, 1))[0].T.numpy()
    np.testing.assert_allclose(kept.embeddings[kept.first_rows[-1] :], decoded, rtol=1e-5, atol=1e-5)
    assert kept.about["level"] is False


def test_a_model_with_a_high_pass_has_rows_and_a_cache_of_its_own():
    samples = np.random.default_rng(0).normal(0.1, 0.05, 24_000).astype(np.float32)
    plain, filtered = (
        Embedder(replace(model(), level_normalized=True, highpass_hz=cutoff_hz), EmbedSettings(level=True, pool="mean"))
        for cutoff_hz in (None, 10.0)
    )
    assert plain.key != filtered.key
    expected = filtered.whole([samples])[0]
    apart = np.abs(plain.whole([samples])[0] - expected).max()
    assert np.abs(filtered.whole([samples + np.float32(0.1)])[0] - expected).max() < 0.1 * apart
    streamed = np.concatenate(list(filtered.streamed([samples[:5_000], samples[5_000:]])))
    np.testing.assert_allclose(streamed, expected, atol=1e-5)
