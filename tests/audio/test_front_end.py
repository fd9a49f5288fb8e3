"""The front end: high-pass and level normaliser, together."""

import numpy as np
import pytest

from streamer.audio.front_end import FrontEnd, front_end_identity, normalize, normalize_batch
from streamer.audio.level import LevelNormalizer
from streamer.constants import FRAME_SAMPLES
from tests.support.vowels import vowels


def test_without_a_high_pass_it_is_the_level_normaliser():
    audio = vowels(2.0)[None]
    np.testing.assert_array_equal(FrontEnd().step(audio), LevelNormalizer().step(audio))
    assert front_end_identity(None) != front_end_identity(60.0)


@pytest.mark.parametrize("offset", [0.02, 0.1])
def test_with_a_high_pass_an_offset_changes_nothing(offset):
    audio = vowels(2.0, rms=0.02)[None]
    clean = normalize(audio, 60.0)
    np.testing.assert_allclose(normalize(audio + np.float32(offset), 60.0), clean, atol=1e-4)
    assert np.abs(normalize(audio + np.float32(offset)) - clean).max() > 0.01, "the level normaliser alone is misled"


def test_it_grows_and_resets_stream_by_stream():
    audio = vowels(1.0)[None]
    front_end = FrontEnd(1, 60.0)
    front_end.step(audio)
    front_end.grow(2)
    front_end.reset(np.array([True, False]))
    out = front_end.step(np.repeat(audio, 2, axis=0))
    np.testing.assert_array_equal(out[0], out[1])
    np.testing.assert_array_equal(out[0], normalize(audio, 60.0)[0])


def test_a_batch_of_recordings_is_each_by_itself():
    short, long = vowels(0.5), vowels(1.01)
    batch, frames = normalize_batch([short, long], 60.0)
    assert frames == [len(short) // FRAME_SAMPLES, len(long) // FRAME_SAMPLES]
    kept = frames[0] * FRAME_SAMPLES
    np.testing.assert_allclose(batch[0, :kept], normalize(short[None, :kept], 60.0)[0], atol=1e-6)


def test_what_a_stream_heard_before_sets_the_level_and_is_left_out() -> None:
    rng = np.random.default_rng(0)
    loud, quiet = (rng.normal(0, sigma, 24_000).astype(np.float32) for sigma in (0.1, 0.02))
    batch, frames = normalize_batch([quiet, quiet[:9600]], 60.0, [loud[:9600], loud[:0]])
    assert frames == [75, 30]
    assert batch.shape == (2, 24_000)
    after = normalize(np.concatenate([loud[:9600], quiet])[None], 60.0)[0, 9600:]
    assert np.array_equal(batch[0], after)
    assert np.array_equal(batch[1, :9600], normalize(quiet[None, :9600], 60.0)[0])
    assert batch[0, :9600].std() < 0.5 * batch[1, :9600].std()
