"""The inference: a stream in any chunks gives what the model gives offline, and rows do not touch each other."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.constants import FRAME_SAMPLES, POOLED_DIM
from streamer.emotion.card import StreamHistory
from streamer.emotion.model import EmotionDetectionModel
from streamer.pipeline.inference import Inference
from streamer.pipeline.windows import InferenceSettings, WindowResult

pytestmark = pytest.mark.slow  # models are loaded, or whole programs run

HOP_FRAMES, WINDOW_FRAMES = 18, 75
HOP_SAMPLES = HOP_FRAMES * FRAME_SAMPLES


@pytest.fixture(scope="module")
def model() -> EmotionDetectionModel:
    torch.manual_seed(0)
    return EmotionDetectionModel(num_classes=8).eval()


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    swell = np.abs(np.sin(np.arange(int(seconds * 24_000)) / 24_000 * 3)) * 0.1
    return (rng.standard_normal(len(swell)) * swell).astype(np.float32)


def inference(model: EmotionDetectionModel, rows: int = 1, window_frames: int = WINDOW_FRAMES) -> Inference:
    return Inference(model, rows, InferenceSettings(window_frames, HOP_FRAMES, min_speech=0.0))


def feed(it: Inference, audio: np.ndarray, sizes: list[int], row: int = 0) -> list:
    heard, start = [], 0
    for size in sizes:
        heard += it.step({row: audio[start : start + size]})
        start += size
    heard += it.step({row: audio[start:]})
    last = it.flush(row)
    return heard + ([last] if last else [])


@pytest.mark.parametrize("seconds", [0.05, 0.5, 1.0, 1.3337])
def test_streaming_and_offline_give_the_same_probabilities(model: EmotionDetectionModel, seconds: float) -> None:
    audio = noise(seconds)
    heard = feed(inference(model, window_frames=225), audio, [HOP_SAMPLES] * int(len(audio) / HOP_SAMPLES))
    with torch.inference_mode():
        offline = torch.softmax(model(torch.from_numpy(audio)[None, None]), dim=-1)[0]
    assert heard[-1].end == len(audio)
    assert heard[-1].frames == -(-len(audio) // FRAME_SAMPLES)
    assert heard[-1].probs == pytest.approx(offline.tolist(), abs=1e-4)


def test_a_model_with_a_high_pass_is_run_with_it() -> None:
    torch.manual_seed(0)
    filtered = EmotionDetectionModel(num_classes=8).eval()
    filtered.highpass_hz = 60.0
    audio = noise(1.0) + np.float32(0.1)
    it = inference(filtered, rows=1, window_frames=225)
    feed(it, audio, [])
    it.reset(0)
    other = it.add()
    for row in (0, other):
        streamed = feed(it, audio, [HOP_SAMPLES] * 3, row)
        with torch.inference_mode():
            offline = torch.softmax(filtered(torch.from_numpy(audio)[None, None]), dim=-1)[0]
        assert streamed[-1].probs == pytest.approx(offline.tolist(), abs=1e-4)


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
        assert len(heard.attention) == heard.frames == min(-(-heard.end // FRAME_SAMPLES), WINDOW_FRAMES)
        assert sum(heard.attention) == pytest.approx(1.0, abs=1e-5)


def test_streams_in_one_batch_give_what_each_gives_alone(model: EmotionDetectionModel) -> None:
    audio = [noise(1.0, seed) for seed in range(3)]
    together = inference(model, rows=3)
    heard = []
    for start in range(0, 24_000, HOP_SAMPLES):
        live = {row: audio[row][start : start + HOP_SAMPLES] for row in range(3) if row != 1 or start < 12_000}
        heard += together.step(live)
    for row in (0, 2):
        alone = [h for h in feed(inference(model), audio[row], []) if h.end % HOP_SAMPLES == 0]
        mine = [h for h in heard if h.row == row]
        assert [h.end for h in mine] == [h.end for h in alone]
        assert mine[-1].probs == pytest.approx(alone[-1].probs, abs=1e-4)


def test_a_row_that_is_reset_begins_anew_and_leaves_the_others(model: EmotionDetectionModel) -> None:
    it, audio = inference(model, rows=2), noise(1.0)
    it.step({0: noise(0.7, 5), 1: audio[:16_800]})
    it.reset(0)
    heard = it.step({0: audio, 1: audio[16_800:]})
    fresh = feed(inference(model), audio, [])
    for row in (0, 1):
        newest = [h for h in heard if h.row == row][-1]
        expected = next(h for h in fresh if h.end == newest.end)
        assert newest.probs == pytest.approx(expected.probs, abs=1e-4)


def test_newest_only_classifies_the_newest_window_and_counts_the_others(model: EmotionDetectionModel) -> None:
    audio = noise(1.2)
    (newest,) = inference(model).step({0: audio}, newest_only=[0])
    every = inference(model).step({0: audio})
    assert (newest.end, newest.skipped) == (every[-1].end, len(every) - 1)
    assert newest.probs == pytest.approx(every[-1].probs, abs=1e-5)


def test_noise_is_no_speech_and_gets_no_probabilities(model: EmotionDetectionModel) -> None:
    it = Inference(model, 1, InferenceSettings(WINDOW_FRAMES, HOP_FRAMES, min_speech=0.3))
    heard = it.step({0: noise(1.0)})
    assert {h.probs for h in heard} == {None}


def test_the_stages_of_a_step_are_reported_and_change_nothing(model: EmotionDetectionModel) -> None:
    audio, plain, watched = noise(0.5), inference(model), inference(model)
    stages: list[str] = []
    watched.on_stage = stages.append
    assert watched.step({0: audio}) == plain.step({0: audio})
    assert stages == ["encode begins", "encode ends"]


def test_warming_up_leaves_no_trace(model: EmotionDetectionModel) -> None:
    warmed = inference(model)
    warmed.warm_up()
    audio = noise(0.5)
    expected = inference(model).step({0: audio})
    heard = warmed.step({0: audio})
    assert [h.end for h in heard] == [h.end for h in expected]
    assert heard[-1].probs == pytest.approx(expected[-1].probs, abs=1e-6)


def test_warming_up_takes_the_largest_step_too(model: EmotionDetectionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    it = inference(model)
    samples: list[int] = []

    def note(audio: dict[int, np.ndarray]) -> list[WindowResult]:
        samples.append(len(audio[0]))
        return []

    monkeypatch.setattr(it, "step", note)
    it.warm_up(8)
    assert max(samples) == 8 * HOP_FRAMES * FRAME_SAMPLES


def assert_same_windows(actual: list[WindowResult], expected: list[WindowResult]) -> None:
    """In everything but the last bits of what the model computes, which depend on how many rows a product has."""
    assert [(h.end, h.frames, h.speech, h.skipped) for h in actual] == [
        (h.end, h.frames, h.speech, h.skipped) for h in expected
    ]
    for a, b in zip(actual, expected, strict=True):
        assert a.probs == pytest.approx(b.probs, abs=1e-5)
        assert a.attention == pytest.approx(b.attention, abs=1e-5)


@settings(max_examples=4, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([1, 319, 2240, 4801, HOP_SAMPLES, 2 * HOP_SAMPLES]), min_size=3, max_size=6),
    comes=st.integers(0, 3),
    stays=st.integers(1, 4),
    other=st.sampled_from([0, 777, HOP_SAMPLES, 3 * HOP_SAMPLES]),
)
def test_a_stream_does_not_notice_that_others_come_and_go(
    model: EmotionDetectionModel, sizes: list[int], comes: int, stays: int, other: int
) -> None:
    audio, crowded, alone = noise(4.0), inference(model), inference(model)
    expected, actual, start, guest = [], [], 0, None
    for step, size in enumerate(sizes):
        chunk = audio[start : start + size]
        start += size
        expected += alone.step({0: chunk})
        if step == comes:
            guest = crowded.add()
        if step == comes + stays and guest is not None:
            crowded.remove(guest)
            guest = None
        both = {0: chunk} if guest is None else {0: chunk, guest: noise(1.0, seed=step)[:other]}
        actual += [h for h in crowded.step(both) if h.row == 0]
    assert_same_windows(actual, expected)


def test_a_row_that_is_given_again_starts_fresh(model: EmotionDetectionModel) -> None:
    it, audio = inference(model, rows=2), noise(1.0)
    it.step({0: audio, 1: noise(0.7, 5)})
    it.remove(1)
    row = it.add()
    assert row == 1
    heard = [h for h in it.step({0: audio, row: audio}) if h.row == row]
    assert_same_windows(heard, inference(model).step({0: audio}))


def test_rows_are_added_without_end(model: EmotionDetectionModel) -> None:
    it, audio = inference(model), noise(0.3)
    rows = [0] + [it.add() for _ in range(4)]
    assert rows == [0, 1, 2, 3, 4]
    heard = it.step(dict.fromkeys(rows, audio))
    assert [h.row for h in heard] == rows
    assert len({h.end for h in heard}) == 1


def test_rows_that_are_late_share_their_steps_with_the_others(
    model: EmotionDetectionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, audio = inference(model, rows=4), noise(2.0)
    it.step(dict.fromkeys(range(4), audio[:HOP_SAMPLES]))
    steps, step = [], it._encoder.step

    def counting(block: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        steps.append((block.shape[-1] // HOP_SAMPLES, len(block) if mask is None else mask.sum().item()))
        return step(block, mask)

    monkeypatch.setattr(it._encoder, "step", counting)
    heard = it.step({row: audio[: hops * HOP_SAMPLES] for row, hops in enumerate((1, 1, 2, 4))}, newest_only=[3])
    assert steps == [(1, 4), (1, 2), (2, 1)]
    assert sorted((h.row, h.end // HOP_SAMPLES, h.skipped) for h in heard) == [
        (0, 2, 0), (1, 2, 0), (2, 2, 0), (2, 3, 0), (3, 5, 3),
    ]  # fmt: skip


def test_many_rows_that_are_behind_pass_through_the_model_hop_by_hop(
    model: EmotionDetectionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, hops = 12, 3
    audio = {row: noise(1.0, row)[: hops * HOP_SAMPLES] for row in range(rows)}
    together, one_by_one = inference(model, rows), inference(model, rows)
    taken: list[int] = []

    def note(part: Any, name: str) -> None:
        step = getattr(part, name)
        monkeypatch.setattr(part, name, lambda block, *rest: taken.append(block.shape[-1]) or step(block, *rest))

    note(together._encoder, "step")
    note(together._hearing._front_end, "step")
    expected = [
        window
        for hop in range(hops)
        for window in one_by_one.step({row: part[hop * HOP_SAMPLES :][:HOP_SAMPLES] for row, part in audio.items()})
    ]
    assert together.step(audio) == expected
    assert taken == [HOP_SAMPLES] * 2 * hops


@pytest.mark.parametrize("rows", [1, 2])
def test_hops_of_all_rows_go_the_encoders_short_way_and_give_the_same_to_the_last_bit(
    model: EmotionDetectionModel, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    hops = [
        {row: noise(2.0, row)[begin : begin + HOP_SAMPLES] for row in range(rows)}
        for begin in range(0, 6 * HOP_SAMPLES, HOP_SAMPLES)
    ]
    short, long = inference(model, rows), inference(model, rows)
    monkeypatch.setattr(long._encoder, "_takes_fast_path", lambda audio: False)
    taken, encode = [], short._encoder._encode
    monkeypatch.setattr(short._encoder, "_encode", lambda *args: taken.append(1) or encode(*args))
    assert [short.step(hop) for hop in hops] == [long.step(hop) for hop in hops]
    assert len(taken) == 1  # the start


def test_the_encoder_may_compute_in_half_precision(model: EmotionDetectionModel) -> None:
    audio, precisions = noise(1.0), (torch.bfloat16, torch.float32)
    half, full = (
        Inference(model, 1, InferenceSettings(WINDOW_FRAMES, HOP_FRAMES, dtype, min_speech=0.0)).step({0: audio})
        for dtype in precisions
    )
    assert [h.end for h in half] == [h.end for h in full]
    assert half[-1].probs != full[-1].probs
    assert half[-1].probs == pytest.approx(full[-1].probs, abs=0.02)
    assert {p.dtype for p in model.encoder.parameters()} == {torch.float32}


def test_only_the_probabilities_are_read_from_the_device_once_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors on `meta` have no values: whoever asks for one gets an error."""
    hop, window_frames = 7 * FRAME_SAMPLES, 14
    it = Inference(EmotionDetectionModel(8), 3, InferenceSettings(window_frames, 7, min_speech=0.0), device="meta")
    reads = []
    monkeypatch.setattr(Inference, "_read", lambda _, pending: reads.append(pending) or [])
    it.warm_up()
    reads.clear()
    it.step({row: noise(0.5)[: hops * hop] for row, hops in enumerate((1, 2, 4))}, newest_only=[2])
    it.remove(1)
    it.step(dict.fromkeys((0, it.add(), it.add()), noise(0.1)[:hop]))
    assert [sum(len(windows) for windows, _ in pending) for pending in reads] == [4, 3]
    for pending in reads:
        assert {values.device.type for _, values in pending} == {"meta"}
        assert all(values.shape == (len(windows), 8 + window_frames + 1) for windows, values in pending)


def last_probs(it: Inference, audio: dict[int, np.ndarray]) -> dict[int, tuple[float, ...]]:
    """The probabilities of each row's newest window."""
    return {heard.row: heard.probs for heard in it.step(audio) if heard.probs is not None}


def test_an_offset_of_zeros_changes_nothing(model: EmotionDetectionModel) -> None:
    audio = {0: noise(1.0), 1: noise(1.0, seed=1)}
    plain, shifted = inference(model, rows=2), inference(model, rows=2)
    shifted.set_profile_offset(0, (0.0,) * 128)
    assert last_probs(shifted, audio) == last_probs(plain, audio)


@pytest.mark.parametrize("also_other", [True, False], ids=["in a full batch", "alone in its step"])
def test_an_offset_moves_its_own_row_only_and_as_it_would_offline(
    model: EmotionDetectionModel, also_other: bool
) -> None:
    audio = {1: noise(1.0, seed=1)} | ({row: noise(1.0, seed=row) for row in (0, 2)} if also_other else {})
    plain, shifted = inference(model, rows=3), inference(model, rows=3)
    by = np.random.default_rng(0).standard_normal(128).astype(np.float32)
    shifted.set_profile_offset(1, by.tolist())
    before, after = last_probs(plain, audio), last_probs(shifted, audio)
    assert [row for row in audio if before[row] != after[row]] == [1]
    shifted.include_embedding(1, True)
    shifted.reset(1)
    heard = shifted.step({1: audio[1]})[-1]
    assert heard.probs == pytest.approx(after[1], abs=1e-5)  # resets leave it in place
    with torch.inference_mode():
        frames = model.get_embeddings(torch.from_numpy(audio[1])[None, None])[:, :, : heard.end // FRAME_SAMPLES]
        pooled, _ = model.pooling(frames[:, :, -WINDOW_FRAMES:])
        assert heard.embedding == pytest.approx(pooled[0, :128].tolist(), abs=1e-4)  # without the shift
        pooled[0, :128] -= torch.from_numpy(by)
        offline = torch.softmax(model.classify(pooled), dim=-1)[0]
    assert heard.probs == pytest.approx(offline.tolist(), abs=1e-4)


def test_only_rows_with_embeddings_enabled_return_them(model: EmotionDetectionModel) -> None:
    it = inference(model, rows=2)
    it.include_embedding(1, True)
    heard = it.step({0: noise(0.5), 1: noise(0.5)})
    assert [(h.row, h.embedding is None) for h in heard] == [(0, True), (1, False)] * (len(heard) // 2)
    assert sum(heard[0].attention) == pytest.approx(1.0, abs=1e-5)
    it.include_embedding(1, False)
    assert {h.embedding for h in it.step({1: noise(0.5)})} == {None}


def test_a_row_that_is_given_to_another_stream_has_no_offset_and_new_rows_have_none(
    model: EmotionDetectionModel,
) -> None:
    audio, it = noise(0.5), inference(model, rows=1)
    fresh = last_probs(inference(model), {0: audio})[0]
    it.set_profile_offset(0, (3.0,) * 128)
    grown = it.add()
    assert last_probs(it, {grown: audio})[grown] == pytest.approx(fresh, abs=1e-5)
    it.remove(0)
    assert it.add() == 0
    assert last_probs(it, {0: audio})[0] == pytest.approx(fresh, abs=1e-5)


def test_a_history_takes_full_windows_of_speech_and_survives_a_gap(model: EmotionDetectionModel) -> None:
    listening = copy.copy(model)
    listening.history = StreamHistory(
        mean=(0.0,) * POOLED_DIM, spread=(1.0,) * POOLED_DIM, prior_s=1.0, memory_s=100.0,
        log_temperature_offset=0.0, log_temperature_slope=0.0, unfamiliar=1e6,
    )  # fmt: skip
    audio = noise(3.0)
    plain, it = inference(model), inference(listening)
    alone = [result.probs for result in plain.step({0: audio})]
    heard = [result.probs for result in it.step({0: audio})]
    full = next(i for i in range(len(alone)) if (i + 1) * HOP_FRAMES >= WINDOW_FRAMES)
    assert heard[: full + 1] == alone[: full + 1], "up to the first full window there is nothing to be compared with"
    assert heard[full + 1] != pytest.approx(alone[full + 1], abs=1e-6)
    it.reset(0)
    again = [result.probs for result in it.step({0: audio})]
    assert again[0] != pytest.approx(alone[0], abs=1e-6), "a gap is no other voice"
    it.reset(0)
    it.forget_history(0)
    assert [result.probs for result in it.step({0: audio})] == heard


def test_silence_does_not_enter_a_history(model: EmotionDetectionModel) -> None:
    listening = copy.copy(model)
    listening.history = StreamHistory(
        mean=(0.0,) * POOLED_DIM, spread=(1.0,) * POOLED_DIM, prior_s=1.0, memory_s=100.0,
        log_temperature_offset=0.0, log_temperature_slope=0.0, unfamiliar=1e6,
    )  # fmt: skip
    it = Inference(listening, 1, InferenceSettings(WINDOW_FRAMES, HOP_FRAMES))
    results = it.step({0: np.zeros(72_000, dtype=np.float32)})
    assert {result.familiarity for result in results} == {"new"}
    assert it._classifier._history is not None
    assert it._classifier._history.heard_s(0) == 0
