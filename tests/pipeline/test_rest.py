"""Streams in which nobody speaks are not encoded, and nobody can tell from their windows."""

import numpy as np
import pytest
import torch

from streamer.audio.noise_gate import LEARNED_FRAMES, NoiseGate
from streamer.constants import FRAME_SAMPLES, SAMPLE_RATE
from streamer.emotion.model import EmotionDetectionModel
from streamer.pipeline.inference import Inference
from streamer.pipeline.rest import Backlog, RestRule
from streamer.pipeline.windows import InferenceSettings, WindowResult
from tests.support.vowels import vowels

pytestmark = pytest.mark.slow  # models are loaded, or whole programs run

HOP_FRAMES, WINDOW_FRAMES = 18, 75
HOP = HOP_FRAMES * FRAME_SAMPLES


@pytest.fixture(scope="module")
def model() -> EmotionDetectionModel:
    torch.manual_seed(0)
    return EmotionDetectionModel(num_classes=8).eval()


def inference(model, rows: int = 1, *, rest: bool = True, min_speech: float = 0.3) -> Inference:
    return Inference(model, rows, InferenceSettings(WINDOW_FRAMES, HOP_FRAMES, min_speech=min_speech, rest=rest))


def room(seconds: float, rms: float = 0.001, seed: int = 0) -> np.ndarray:
    return (rms * np.random.default_rng(seed).standard_normal(int(seconds * SAMPLE_RATE))).astype(np.float32)


def evening() -> np.ndarray:
    """A quiet room in which somebody speaks three times: at once, after a long rest, and after a short one."""
    audio = room(11.5)
    for begin_s, length_s, loudness in ((1.2, 1.2, 0.05), (7.0, 1.2, 0.02), (9.4, 1.0, 0.05)):
        begin, voice = int(begin_s * SAMPLE_RATE), vowels(length_s, loudness)
        audio[begin : begin + len(voice)] += voice
    return audio


def run(it: Inference, audio: np.ndarray, hops: int = 1, row: int = 0) -> list[WindowResult]:
    size = hops * HOP
    results = [result for i in range(0, len(audio), size) for result in it.step({row: audio[i : i + size]})]
    last = it.flush(row)
    return results + ([last] if last else [])


def assert_same(found: list[WindowResult], expected: list[WindowResult], tolerance: float) -> None:
    assert [(w.end, w.frames, w.skipped) for w in found] == [(w.end, w.frames, w.skipped) for w in expected]
    assert [w.probs is None for w in found] == [w.probs is None for w in expected]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.speech == pytest.approx(theirs.speech, abs=0.1)
        if mine.probs is not None:
            assert mine.probs == pytest.approx(theirs.probs, abs=tolerance)
            assert len(mine.attention) == mine.frames


@pytest.fixture(scope="module")
def always(model) -> list[WindowResult]:
    return run(inference(model, rest=False), evening())


@pytest.mark.parametrize("hops", [1, 8])
def test_every_window_comes_and_is_that_of_a_stream_that_never_rests(model, always, hops):
    it = inference(model)
    found = run(it, evening(), hops)
    assert_same(found, always, 0.02)
    assert 5 < sum(window.probs is not None for window in found) < len(found) / 2


def encoded_hops(it: Inference, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which the hops of every encoded step are added."""
    encoded, encode = [], it._encode
    monkeypatch.setattr(it, "_encode", lambda audio, mask: encoded.append(audio.shape[2] // HOP) or encode(audio, mask))
    return encoded


@pytest.mark.parametrize("rms", [0.0, 0.001, 0.003])
def test_in_a_steady_room_encoder_and_detector_sleep(model, monkeypatch, rms):
    it = inference(model)
    encoded = encoded_hops(it, monkeypatch)
    results = run(it, room(8.4, rms))
    assert len(results) == 35
    assert sum(encoded) <= WINDOW_FRAMES // HOP_FRAMES + 2
    assert it._rows[0].rest.asleep
    assert all(window.probs is None and window.speech == 0 for window in results)
    assert [window.rested for window in results] == [False] * 5 + [True] * 30  # 5: until a window is full


def test_what_is_missed_is_encoded_within_two_hops_and_before_the_first_window_that_needs_it(model, monkeypatch):
    it = inference(model)
    encoded = encoded_hops(it, monkeypatch)
    audio = np.concatenate([room(10.0), room(3.0) + vowels(3.0)])
    woke = probable = 0
    for i in range(0, len(audio), HOP):
        before = len(encoded)
        results = it.step({0: audio[i : i + HOP]})
        if i > 8 * SAMPLE_RATE and len(encoded) > before and not woke:
            woke = i // HOP
        if results and results[-1].probs is not None and not probable:
            probable = i // HOP
            assert not it._rows[0].rest.backlog.samples
    assert 0 < woke <= probable
    assert max(encoded) <= (WINDOW_FRAMES + 75) // HOP_FRAMES + 3
    assert encoded[-5:-1] == [1] * 4


def test_streams_that_wake_together_get_what_each_gets_alone(model):
    audio = np.concatenate([room(8.0), room(2.0) + vowels(2.0)])
    alone = run(inference(model), audio)
    it = inference(model, rows=3)
    results = [r for i in range(0, len(audio), HOP) for r in it.step(dict.fromkeys(range(3), audio[i : i + HOP]))]
    for row in range(3):
        mine = [window for window in results if window.row == row]
        assert_same(mine, [window for window in alone if window.end % HOP == 0], 1e-3)


def test_in_a_loud_room_the_encoder_goes_on(model, monkeypatch):
    it = inference(model)
    encoded = encoded_hops(it, monkeypatch)
    run(it, room(4.8, 0.02))
    assert sum(encoded) == 20


@pytest.mark.parametrize("how", ["min_speech", "calibration", "setting"])
def test_a_stream_that_may_not_rest_does_not(model, monkeypatch, how):
    it = inference(model, rest=how != "setting", min_speech=0.0 if how == "min_speech" else 0.3)
    it.include_embedding(0, how == "calibration")
    encoded = encoded_hops(it, monkeypatch)
    results = run(it, room(4.8))
    assert sum(encoded) == 20
    assert all(len(window.attention) == window.frames for window in results)


def test_a_calibration_that_begins_in_a_rest_wakes_the_stream(model, monkeypatch):
    it = inference(model)
    run_to = [it.step({0: room(0.24, seed=i)}) for i in range(35)]
    assert not run_to[-1][0].attention
    it.include_embedding(0, True)
    encoded = encoded_hops(it, monkeypatch)
    (window,) = it.step({0: room(0.24)})
    assert window.embedding is not None
    assert encoded[0] > 5
    assert not it._rows[0].rest.asleep


def test_a_reset_ends_a_rest(model):
    it = inference(model)
    run(it, room(8.0))
    it.reset(0)
    again = it.step({0: room(0.5)})
    assert [(window.end, len(window.attention)) for window in again] == [(HOP, 18), (2 * HOP, 36)]


@pytest.mark.parametrize(("gain", "stands_out"), [(1.0, False), (2.0, True), (0.4, True)])
def test_the_gate_opens_where_the_background_changes(gain, stands_out):
    gate = NoiseGate()
    for i in range(40):
        gate.step(room(0.24, seed=i))
        gate.learn()
    assert gate.learned
    assert gate.step(np.float32(gain) * room(0.24, seed=99)) is stands_out


def test_steady_noise_hardly_ever_opens_the_gate():
    gate, opened = NoiseGate(), 0
    for i in range(500):
        opened += gate.step(room(0.24, seed=i)) and i > LEARNED_FRAMES
        gate.learn()
    assert opened <= 5


def test_the_gate_opens_for_a_voice_that_hardly_adds_to_the_level():
    gate = NoiseGate()
    for i in range(40):
        gate.step(room(0.24, 0.01, seed=i))
        gate.learn()
    quiet = room(1.0, 0.01, seed=99) + vowels(1.0, 0.007)
    assert any(gate.step(quiet[i : i + HOP]) for i in range(0, len(quiet), HOP))


def test_a_backlog_gives_its_samples_in_order():
    backlog = Backlog(begin=100)
    for i in range(4):
        backlog.append(np.arange(10 * i, 10 * i + 10, dtype=np.float32))
    assert backlog.take(15).tolist() == list(range(15))
    assert (backlog.begin, backlog.samples) == (115, 25)
    assert backlog.newest(12).tolist() == list(range(28, 40))
    assert backlog.take(25).tolist() == list(range(15, 40))
    assert not len(backlog.take(0))


@pytest.mark.parametrize(("speech", "hops"), [(0, 3), (999, 3), (1_000, 2), (3_999, 0), (4_000, 0), (9_000, 0)])
def test_the_first_window_that_may_need_the_encoder_is_known_beforehand(speech, hops):
    assert RestRule(window=10_000, hop=1_000, needed=4_000).hops_to_spare(speech) == hops
