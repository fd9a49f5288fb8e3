"""Figures of streams: computed from events whose answer is known."""

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from streamer.constants import SAMPLE_RATE
from streamer.corpora.streams import JoinedStream, Stretch
from streamer.emotion.labels import LABELS
from streamer.evaluation.streams import among, compare_condition, measure_natural, measure_streams, run_streams
from streamer.evaluation.through_worker import WorkerHarness
from streamer.events import EmotionEnded, EmotionStarted, Event, Window
from tests.evaluation.conftest import SEED, silent

THREE = ("neutral", "happy", "sad")


def window(end_s: float, label: str, confidence: float = 0.9, claims: bool = True, **changes: object) -> Window:
    rest = (1 - confidence) / 7
    probs = {name: confidence if name == label else rest for name in LABELS}
    body = {
        "stream": "0", "seq": 0, "time": 0.0, "start_s": end_s - 3, "end_s": end_s, "label": label if claims else None,
        "confidence": confidence, "probs": probs, "speech": 1.0, "rms_dbfs": -20.0, "peak_dbfs": -10.0,
        "latency_ms": None, "dropped_samples": 0, "warming": False,
    }  # fmt: skip
    return Window(**(body | changes))  # type: ignore[arg-type]


def held(label: str, start_s: float, end_s: float) -> list[Event]:
    name = f"{label}-{start_s}"
    started = EmotionStarted("0", name, 0.0, label, None, 0.9, start_s)
    return [started, EmotionEnded("0", name, 0.0, label, end_s - start_s, 0.9)]


def stream(*stretches: tuple[str, float, float]) -> JoinedStream:
    parts = tuple(Stretch(label, round(a * SAMPLE_RATE), round(b * SAMPLE_RATE)) for label, a, b in stretches)
    return JoinedStream("c/a", np.zeros(parts[-1].end, np.float32), parts, ())


SPOKEN = stream(("neutral", 0, 20), ("happy", 20, 30), ("neutral", 30, 40), ("sad", 40, 50))


def figures(events: Iterable[Event]):
    return measure_streams([SPOKEN], [list(events)], THREE, 0.5, SEED)


def test_a_window_counts_for_the_label_that_covers_two_thirds_of_it() -> None:
    events = [
        window(10, "neutral"),
        window(21, "happy"),  # a third of it is happy: it is neutral speech
        window(21.5, "happy"),  # a half of it: it does not count
        window(25, "happy"),
        window(26, "sad", claims=False),
        window(27, "sad", warming=True),
        window(28, "sad", probs=None),
        window(45, "sad"),
    ]
    measured = figures(events)
    assert measured.windows.count == 5
    assert measured.windows.recall == (0.5, 0.5, 1.0)
    assert measured.windows.uar == pytest.approx(2 / 3)
    assert measured.answered == 4 / 5
    assert measured.answered_accuracy == 3 / 4
    assert measured.neutral_claimed == 1 / 2


def test_without_calm_in_the_corpus_calm_is_neutral() -> None:
    probs = [0.3, 0.3, 0.4, 0, 0, 0, 0, 0]  # neutral, calm, happy
    assert among(probs, THREE).tolist() == pytest.approx([0.6, 0, 0.4, 0, 0, 0, 0, 0])
    assert among(probs, ("neutral", "calm", "happy")).tolist() == pytest.approx(probs)
    assert figures([window(10, "calm"), window(25, "happy")]).neutral_claimed == 0


def test_a_stretch_holds_the_right_emotion_or_only_wrong_ones_or_none() -> None:
    both = figures([window(10, "neutral"), *held("angry", 21, 24), *held("happy", 24, 29), *held("angry", 44, 48)])
    assert (both.stretches, both.held_right, both.held_wrong, both.delay_s) == (2, 0.5, 0.5, 4.0)
    calm = figures([window(10, "neutral"), *held("neutral", 5, 50)])
    assert (calm.held_right, calm.held_wrong) == (0, 0)
    assert math.isnan(calm.delay_s)


def test_emotions_that_start_in_neutral_speech_are_counted_by_the_hour() -> None:
    events = [*held("happy", 10, 12), *held("neutral", 12, 13), *held("sad", 31, 50), *held("happy", 24, 29)]
    measured = figures([window(10, "neutral"), *events])
    assert measured.neutral_starts == 2
    assert measured.neutral_hours == pytest.approx(30 / 3600)
    assert measured.starts_per_hour == pytest.approx(240)


def test_streams_in_which_nothing_counts_have_no_figures() -> None:
    assert figures(held("happy", 1, 2)) is None


def test_natural_speech_counts_what_starts_but_for_neutral_and_calm() -> None:
    events = [*held("happy", 1, 2), *held("neutral", 3, 9), *held("calm", 10, 11), window(5, "neutral", 0.8)]
    measured = measure_natural([np.zeros(30 * SAMPLE_RATE, np.float32)], [events])
    assert (measured.started, measured.labels, measured.per_hour) == (1, {"happy": 1}, pytest.approx(120))
    assert measured.neutral == pytest.approx(0.8 + 0.2 / 7)
    assert measured.claimed == 0


def test_conditions_are_compared_window_by_window() -> None:
    before = [window(10, "neutral"), window(11, "sad"), window(12, "sad"), window(13, "sad", probs=None)]
    after = [window(10, "neutral", claims=False), window(11, "happy"), window(13, "sad"), window(14, "sad")]
    compared = compare_condition([before], [after])
    assert (compared.windows, compared.unchanged, compared.answered, compared.answered_before) == (2, 0.5, 0.5, 1.0)


def test_an_answer_is_turned_where_another_is_named_and_not_where_none_is() -> None:
    before = [window(10, "sad"), window(11, "sad"), window(12, "sad"), window(13, "happy", claims=False)]
    after = [window(10, "sad", claims=False), window(11, "happy"), window(12, "sad"), window(13, "sad")]
    compared = compare_condition([before], [after])
    assert (compared.unchanged, compared.answers_unchanged, compared.answers_turned) == (0.5, pytest.approx(2 / 3), 0.5)


@pytest.mark.slow
def test_more_streams_than_the_worker_has_rows_run_one_after_the_other(harness: WorkerHarness, tmp_path: Path) -> None:
    rng = np.random.default_rng(SEED)
    recordings = [0.1 * rng.standard_normal(SAMPLE_RATE + 100 * i).astype(np.float32) for i in range(10)]
    events = run_streams(harness, recordings, silent, "noise")
    assert len(events) == 10
    ends = [max(event.end_s for event in one if isinstance(event, Window)) for one in events]
    assert ends == pytest.approx([len(recording) / SAMPLE_RATE for recording in recordings])
