"""The inference: a stream in any chunks gives what the model gives offline, and rows do not touch each other."""

import numpy as np
import pytest
import torch

from streamer.emotion.model import EmotionDetectionModel
from streamer.inference import Inference
from streamer.rates import HOP

HOP_FRAMES, WINDOW_FRAMES = 18, 75
HOP_SAMPLES = HOP_FRAMES * HOP


@pytest.fixture(scope="module")
def model() -> EmotionDetectionModel:
    torch.manual_seed(0)
    return EmotionDetectionModel(num_classes=8).eval()


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    swell = np.abs(np.sin(np.arange(int(seconds * 24_000)) / 24_000 * 3)) * 0.1
    return (rng.standard_normal(len(swell)) * swell).astype(np.float32)


def inference(model: EmotionDetectionModel, rows: int = 1, window_frames: int = WINDOW_FRAMES) -> Inference:
    return Inference(model, rows, window_frames=window_frames, hop_frames=HOP_FRAMES, min_speech=0.0)


def feed(it: Inference, audio: np.ndarray, sizes: list[int], row: int = 0) -> list:
    heard, start = [], 0
    for size in sizes:
        heard += it.hear({row: audio[start : start + size]})
        start += size
    heard += it.hear({row: audio[start:]})
    last = it.finish(row)
    return heard + ([last] if last else [])


@pytest.mark.parametrize("seconds", [0.05, 0.5, 1.0, 1.3337])
def test_streaming_and_offline_give_the_same_probabilities(model: EmotionDetectionModel, seconds: float) -> None:
    audio = noise(seconds)
    heard = feed(inference(model, window_frames=225), audio, [HOP_SAMPLES] * int(len(audio) / HOP_SAMPLES))
    with torch.inference_mode():
        offline = torch.softmax(model(torch.from_numpy(audio)[None, None]), dim=-1)[0]
    assert heard[-1].end == len(audio)
    assert heard[-1].frames == -(-len(audio) // HOP)
    assert heard[-1].probs == pytest.approx(offline.tolist(), abs=1e-4)


def test_the_chunks_do_not_matter(model: EmotionDetectionModel) -> None:
    audio = noise(1.5)
    rng = np.random.default_rng(1)
    whole = feed(inference(model), audio, [])
    parts = feed(inference(model), audio, rng.integers(1, 4_000, size=20).tolist())
    assert [h.end for h in parts] == [h.end for h in whole]
    assert [h.end for h in whole] == [*range(HOP_SAMPLES, len(audio), HOP_SAMPLES), len(audio)]
    for a, b in zip(parts, whole, strict=True):
        assert a.probs == pytest.approx(b.probs, abs=1e-4)
        assert a.attention == pytest.approx(b.attention, abs=1e-4)


def test_attention_covers_the_frames_of_the_window_and_sums_to_one(model: EmotionDetectionModel) -> None:
    for heard in feed(inference(model), noise(1.5), []):
        assert len(heard.attention) == heard.frames == min(-(-heard.end // HOP), WINDOW_FRAMES)
        assert sum(heard.attention) == pytest.approx(1.0, abs=1e-5)


def test_streams_in_one_batch_give_what_each_gives_alone(model: EmotionDetectionModel) -> None:
    audio = [noise(1.0, seed) for seed in range(3)]
    together = inference(model, rows=3)
    heard = []
    for start in range(0, 24_000, HOP_SAMPLES):
        live = {row: audio[row][start : start + HOP_SAMPLES] for row in range(3) if row != 1 or start < 12_000}
        heard += together.hear(live)
    for row in (0, 2):
        alone = [h for h in feed(inference(model), audio[row], []) if h.end % HOP_SAMPLES == 0]
        mine = [h for h in heard if h.row == row]
        assert [h.end for h in mine] == [h.end for h in alone]
        assert mine[-1].probs == pytest.approx(alone[-1].probs, abs=1e-4)


def test_a_row_that_is_reset_begins_anew_and_leaves_the_others(model: EmotionDetectionModel) -> None:
    it, audio = inference(model, rows=2), noise(1.0)
    it.hear({0: noise(0.7, 5), 1: audio[:16_800]})
    it.reset(0)
    heard = it.hear({0: audio, 1: audio[16_800:]})
    fresh = feed(inference(model), audio, [])
    for row in (0, 1):
        newest = [h for h in heard if h.row == row][-1]
        expected = next(h for h in fresh if h.end == newest.end)
        assert newest.probs == pytest.approx(expected.probs, abs=1e-4)


def test_only_the_newest_window_is_given_when_asked_so_and_the_rest_is_counted(model: EmotionDetectionModel) -> None:
    audio = noise(1.2)
    (newest,) = inference(model).hear({0: audio}, every=False)
    every = inference(model).hear({0: audio})
    assert (newest.end, newest.skipped) == (every[-1].end, len(every) - 1)
    assert newest.probs == pytest.approx(every[-1].probs, abs=1e-5)


def test_noise_is_no_voice_and_gets_no_probabilities(model: EmotionDetectionModel) -> None:
    it = Inference(model, 1, window_frames=WINDOW_FRAMES, hop_frames=HOP_FRAMES, min_speech=0.3)
    heard = it.hear({0: noise(1.0)})
    assert {h.probs for h in heard} == {None}


def test_warming_up_leaves_no_trace(model: EmotionDetectionModel) -> None:
    warmed = inference(model)
    warmed.warm_up()
    audio = noise(0.5)
    expected = inference(model).hear({0: audio})
    heard = warmed.hear({0: audio})
    assert [h.end for h in heard] == [h.end for h in expected]
    assert heard[-1].probs == pytest.approx(expected[-1].probs, abs=1e-6)
