"""Windows of training streams: what is said in them, their histories, and the head that is fitted to them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from streamer.constants import FRAME_SAMPLES, POOLED_DIM
from streamer.corpora.streams import Stretch
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import StreamHistory
from streamer.emotion.history import RunningMeans
from streamer.emotion.labels import LABELS
from streamer.training.losses import label_mask
from streamer.training.stream_calibration import (
    Judged,
    asked_for,
    calibrated_scale,
    counted,
    history_of,
    joined,
    stream_threshold,
    temper_by_distance,
)
from streamer.training.stream_frames import NON_SPEECH, StreamLabels, is_as_recorded
from streamer.training.stream_head import HeadExamples, balanced_weights, fit_stream_head
from streamer.training.stream_windows import (
    StreamWindows,
    causal_histories,
    pool_streams,
    random_shifts,
    targets_and_masks,
)

NEUTRAL, CALM, HAPPY, SAD = range(4)
RULE = StreamHistory(
    mean=(0.5,) * POOLED_DIM, spread=(2.0,) * POOLED_DIM, prior_s=12.0, memory_s=100.0,
    log_temperature_offset=0.0, log_temperature_slope=0.0, unfamiliar=9.0,
)  # fmt: skip


def windows(labels: list[list[int]], seed: int = 0, corpus: str = "c") -> StreamWindows:
    """Streams of windows with these labels; -1: nobody speaks."""
    rng = np.random.default_rng(seed)
    flat = [label for stream in labels for label in stream]
    coverage = np.zeros((len(flat), len(LABELS)), np.float32)
    for row, label in enumerate(flat):
        if label >= 0:
            coverage[row, label] = 1
    keys = tuple(str(number) for number, stream in enumerate(labels) for _ in stream)
    return StreamWindows(
        vectors=rng.normal(size=(len(flat), POOLED_DIM)).astype(np.float32),
        coverage=coverage,
        voiced=(np.array(flat) >= 0).astype(np.float32),
        ends=np.concatenate([np.arange(len(stream)) for stream in labels]),
        streams=keys,
        speakers=tuple(f"{corpus}/{key}" for key in keys),
        hop_s=0.5,
    )


def test_pooled_windows_know_what_is_said_in_them_and_agree_with_the_model() -> None:
    torch.manual_seed(0)
    model = EmotionDetectionModel(len(LABELS)).eval()
    frames = np.random.default_rng(0).normal(size=(100, 128)).astype(np.float32)
    labels = StreamLabels(
        "c/a",
        (Stretch("happy", 0, 40 * FRAME_SAMPLES), Stretch("sad", 40 * FRAME_SAMPLES, 100 * FRAME_SAMPLES)),
        ((0, 30 * FRAME_SAMPLES), (40 * FRAME_SAMPLES, 100 * FRAME_SAMPLES)),
    )
    pooled = pool_streams(model, [("a", frames, labels), ("too short", frames[:10], labels)], 60 / 75, 20 / 75)
    assert pooled.ends.tolist() == [60, 80, 100]
    assert pooled.coverage[:, HAPPY].tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert pooled.coverage[:, SAD].tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert pooled.voiced.tolist() == pytest.approx([5 / 6, 5 / 6, 1])
    with torch.inference_mode():
        offline, _ = model.pooling(torch.from_numpy(frames[20:80].T.copy())[None])
    np.testing.assert_allclose(pooled.vectors[1], offline[0].numpy(), atol=1e-5)


def test_sounds_without_speech_have_no_label() -> None:
    model = EmotionDetectionModel(len(LABELS)).eval()
    frames = np.zeros((80, 128), np.float32)
    labels = StreamLabels("", (Stretch(NON_SPEECH, 0, 80 * FRAME_SAMPLES),), ())
    pooled = pool_streams(model, [("noise", frames, labels)], 1.0, 0.5)
    assert pooled.coverage.max() == 0
    targets, masks = targets_and_masks(pooled, {"c": ("happy", "sad")})
    assert targets[0].tolist() == [1 / 8] * 8
    assert masks.all()


def test_streams_without_a_full_window_give_none() -> None:
    assert len(pool_streams(EmotionDetectionModel(8), [], 3.0, 0.5)) == 0


def test_histories_in_training_are_those_of_the_worker() -> None:
    some = windows([[NEUTRAL, SAD, -1, SAD, HAPPY], [SAD, SAD]])
    means = RunningMeans(RULE, 2, torch.device("cpu"))
    expected, believed = [], []
    for begin, end in some.bounds():
        stream = int(some.streams[begin])
        for row in range(begin, end):
            expected.append(means.shifts([stream])[0].numpy())
            believed.append(means.beliefs([stream])[0].numpy())
            if some.voiced[row]:
                means.add([stream], torch.from_numpy(some.vectors[row])[None], [some.hop_s])
    shifts, beliefs = causal_histories(some, RULE)
    np.testing.assert_allclose(shifts, np.stack(expected), atol=1e-5)
    np.testing.assert_allclose(beliefs, np.stack(believed), atol=1e-6)


def test_drawn_histories_are_of_the_windows_own_stream_and_repeat_with_their_seed() -> None:
    some = windows([[NEUTRAL, SAD, HAPPY, NEUTRAL] * 10, [NEUTRAL] * 10])
    some.vectors[:] = np.where(np.array(some.streams) == "0", 1.0, 3.0)[:, None]
    shifts, again = (random_shifts(some, np.zeros(POOLED_DIM), 12.0, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(shifts, again)
    for stream, level in (("0", 1.0), ("1", 3.0)):
        of_stream = shifts[np.array(some.streams) == stream, 0]
        assert of_stream.max() < level, "a history is never wholly believed"
        assert of_stream.max() > 0.8 * level


def test_a_window_across_two_emotions_is_a_mixture_of_both() -> None:
    some = windows([[HAPPY]])
    some.coverage[0, [HAPPY, SAD]] = 0.6, 0.3
    targets, masks = targets_and_masks(some, {"c": ("neutral", "happy", "sad")})
    assert targets[0, [HAPPY, SAD]].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert masks[0].tolist() == label_mask(("neutral", "happy", "sad")).tolist()


def test_natural_speech_is_told_from_all_labels_but_calm() -> None:
    _, masks = targets_and_masks(windows([[NEUTRAL]], corpus="radio"), {"c": ("happy", "sad")})
    assert [label for label, mask in zip(LABELS, masks[0], strict=True) if not mask] == ["calm"]


def test_labels_and_corpora_weigh_alike() -> None:
    some = windows([[SAD] * 9 + [HAPPY]])
    weights = balanced_weights(some, {"c": 2.0})
    assert weights.sum() == pytest.approx(2.0)
    assert weights[some.labels == HAPPY].sum() == pytest.approx(1.0)
    assert balanced_weights(some, {"d": 1.0}).sum() == 0


def test_the_history_s_constants_are_the_windows_mean_and_how_streams_spread_around_it() -> None:
    some = windows([[SAD] * 50, [SAD] * 50])
    some.vectors[:50] += 4.0
    rule = history_of(some, balanced_weights(some, {"c": 1.0}))
    assert rule.mean[0] == pytest.approx(float(some.vectors[:, 0].mean()), abs=1e-3)
    assert rule.spread[0] == pytest.approx(2.0, abs=0.5)


def test_a_head_learns_labels_from_what_their_histories_leave() -> None:
    rng = np.random.default_rng(0)
    speakers, labels = np.repeat(np.arange(12), 40), np.tile([NEUTRAL, HAPPY, SAD, NEUTRAL], 120)
    voices = 3.0 * rng.normal(size=(12, POOLED_DIM)).astype(np.float32)
    vectors = voices[speakers] + rng.normal(scale=0.5, size=(480, POOLED_DIM)).astype(np.float32)
    for place, label in enumerate((NEUTRAL, HAPPY, SAD)):
        vectors[labels == label, place * 20 : place * 20 + 20] += 1.5
    targets = np.eye(len(LABELS), dtype=np.float32)[labels]
    masks = np.tile(label_mask(("neutral", "happy", "sad")), (480, 1))
    known = speakers < 8
    seen = vectors - voices[speakers]
    examples = HeadExamples(seen[known], targets[known], masks[known], np.ones(known.sum(), np.float32), masks[0])
    classifier = fit_stream_head(examples, l2=0.01)
    with torch.no_grad():
        logits = classifier(torch.from_numpy(seen[~known]))
    assert float((logits.argmax(dim=1).numpy() == labels[~known]).mean()) > 0.95
    assert torch.softmax(logits, dim=1)[:, CALM].max() < 1e-6, "no corpus has it"


def judged(confidence: float, right: float, distance: float) -> Judged:
    """1,000 windows of two labels, claimed with `confidence`, of which a share `right` is."""
    logits = np.full((1000, 8), -np.inf)
    logits[:, :2] = np.log([confidence, 1 - confidence])
    targets = (np.arange(1000) >= 1000 * right).astype(np.int64)
    return Judged(logits, targets, np.full(1000, distance), logits)


def test_the_temperature_rises_where_unfamiliar_streams_are_claimed_too_surely() -> None:
    rule = temper_by_distance(RULE, judged(0.9, 0.9, 0.8), judged(0.9, 0.6, 2.0), temperature=1.0)
    factor = np.exp(max(0.0, rule.log_temperature_offset + rule.log_temperature_slope * 2.0))
    assert 1 / (1 + np.exp(-np.log(9) / factor)) == pytest.approx(0.6, abs=0.05)
    assert rule.log_temperature_offset + rule.log_temperature_slope * 0.8 <= 0.001, "known streams stay as they are"
    assert rule.unfamiliar == 0.8


def test_the_temperature_stays_where_distance_tells_nothing() -> None:
    rule = temper_by_distance(RULE, judged(0.9, 0.9, 0.8), judged(0.9, 0.9, 2.0), temperature=1.0)
    assert max(0.0, rule.log_temperature_offset + 2.0 * rule.log_temperature_slope) < 0.05


def test_labels_that_a_head_was_never_told_of_say_nothing_of_how_sure_it_should_be() -> None:
    some = judged(0.9, 0.9, 2.0)
    targets = some.targets.copy()
    targets[:100] = SAD
    kept = asked_for(replace(some, targets=targets))
    assert (len(kept.logits), len(kept.targets), len(kept.distances), len(kept.live_logits)) == (900, 900, 900, 900)
    assert SAD not in kept.targets


@pytest.mark.parametrize(
    ("key", "as_recorded"),
    [("ravdess/01#0/0", True), ("ravdess/01#0/1", False), ("ravdess/01#2/10", False), ("calibration/nemo/KD0@2", True)],
)
def test_the_first_version_of_a_stream_and_calibration_streams_are_as_recorded(key: str, as_recorded: bool) -> None:
    assert is_as_recorded(key) == as_recorded


def test_speakers_weigh_alike_when_corpora_are_judged_together() -> None:
    few = Judged(np.zeros((10, 8)), np.zeros(10, np.int64), np.zeros(10), np.zeros((10, 8)), speakers=3)
    both = joined([few, judged(0.9, 0.9, 1.0)])
    assert (len(both.targets), both.speakers) == (4000, 4)


def test_windows_that_count_are_voiced_and_of_one_label() -> None:
    some = windows([[SAD, SAD, -1, HAPPY]])
    some.coverage[1] = 0.5
    some.voiced[3] = 0.1
    assert counted(some).tolist() == [True, False, False, False]


def calibrated(count: int = 5000) -> Judged:
    """Windows whose probabilities are right at temperature 1."""
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(count, 8))
    targets = np.array([rng.choice(8, p=np.exp(row) / np.exp(row).sum()) for row in logits])
    return Judged(logits, targets, np.zeros(count), logits)


def test_the_threshold_leaves_two_windows_in_five_answered() -> None:
    some = calibrated()
    confidence = (np.exp(some.live_logits) / np.exp(some.live_logits).sum(axis=1, keepdims=True)).max(axis=1)
    assert (confidence >= stream_threshold(some, 1.0)).mean() == pytest.approx(0.42, abs=0.03)


@pytest.mark.parametrize(("temperature", "sharper"), [(1.0, 1.0), (2.0, 1.0), (1.0, 2.0)])
def test_the_stream_head_is_scaled_to_the_clips_heads_temperature(temperature: float, sharper: float) -> None:
    some = calibrated()
    clips = Judged(np.zeros_like(some.logits), some.targets, some.distances, some.logits)
    streams = Judged(some.logits * sharper, some.targets, some.distances, some.logits)
    assert calibrated_scale(clips, streams, temperature) == pytest.approx(temperature / sharper, rel=0.08)


def test_a_scaled_stream_head_is_as_sure_as_it_is_right_though_some_windows_are_surely_wrong() -> None:
    some = calibrated()
    targets = some.targets.copy()
    targets[::8] = some.logits[::8].argmin(axis=1)
    clips = Judged(np.zeros_like(some.logits), targets, some.distances, some.logits)
    streams = Judged(some.logits, targets, some.distances, some.logits)
    logits = some.logits * calibrated_scale(clips, streams, 1.0)
    confidence = np.exp(logits).max(axis=1) / np.exp(logits).sum(axis=1)
    assert confidence.mean() == pytest.approx((logits.argmax(axis=1) == targets).mean(), abs=0.02)
