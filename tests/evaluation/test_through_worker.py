"""Clips through the real worker, compared with offline inference."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.constants import SAMPLE_RATE
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Clip, Corpus
from streamer.evaluation.through_worker import ROWS, WorkerHarness, add_quiet_room, offline_labels, stream_clips
from streamer.events import Window
from tests.evaluation.conftest import SEED, silent

pytestmark = pytest.mark.slow  # whole trainings, or the program's own worker


def test_every_streamed_window_has_the_offline_label(harness: WorkerHarness, spoken: tuple[AudioStore, Corpus]) -> None:
    audio, corpus = spoken
    live = stream_clips(harness, audio, corpus, corpus.clips, 0.4, SEED, silent)
    assert live is not None
    assert live.clips == 2
    assert live.windows.count > 6
    assert set(live.windows.of_speakers) == {"speaker 0", "speaker 1"}
    assert live.same_as_offline == 1


def test_a_shifted_window_has_another_offline_label(harness: WorkerHarness, spoken: tuple[AudioStore, Corpus]) -> None:
    audio, corpus = spoken
    room = add_quiet_room(audio[f"spoken/{corpus.clips[0].path.name}"], 0.6, np.random.default_rng(SEED))
    (events,) = harness.run([room])
    windows = [event for event in events if isinstance(event, Window) and event.probs is not None]
    offline = [harness.model.labels[column] for column in offline_labels(harness.model, room, windows)]
    assert offline == [max(window.probs or {}, key=(window.probs or {}).__getitem__) for window in windows]
    shifted = [replace(window, start_s=0.0, end_s=0.4) for window in windows]  # the room before the clip
    assert offline != [harness.model.labels[column] for column in offline_labels(harness.model, room, shifted)]


def test_the_quiet_room_surrounds_a_clip_with_faint_noise() -> None:
    clip = np.full(SAMPLE_RATE // 2, 0.5, dtype=np.float32)
    room = add_quiet_room(clip, 0.6, np.random.default_rng(SEED))
    assert len(room) == round((0.6 + 0.5 + 1.0) * SAMPLE_RATE)
    before = round(0.6 * SAMPLE_RATE)
    np.testing.assert_allclose(room[before : before + len(clip)], 0.5, atol=0.01)
    assert 0 < np.abs(room[:before]).max() < 0.01


def test_a_clip_without_speech_has_no_windows(harness: WorkerHarness, tmp_path: Path) -> None:
    quiet = tmp_path / "quiet.wav"
    soundfile.write(quiet, np.zeros(SAMPLE_RATE // 2), SAMPLE_RATE)
    clip = Clip(quiet, "quiet", "neutral", "nobody")
    audio = AudioStore(tmp_path / "work")
    audio.prepare([clip], silent)
    assert stream_clips(harness, audio, Corpus("quiet", "", (clip,)), [clip], 0.4, SEED, silent) is None


def test_more_recordings_than_the_worker_has_rows_are_refused(harness: WorkerHarness) -> None:
    with pytest.raises(ValueError, match="rows"):
        harness.run([np.zeros(320, dtype=np.float32)] * (ROWS + 1))


def test_a_recording_has_the_same_windows_after_another_recording(
    harness: WorkerHarness, spoken: tuple[AudioStore, Corpus]
) -> None:
    audio, corpus = spoken
    first, second = (audio[f"spoken/{clip.path.name}"] for clip in corpus.clips)
    alone = [event.probs for event in harness.run([second])[0] if isinstance(event, Window)]
    harness.run([first, first])
    assert [event.probs for event in harness.run([second])[0] if isinstance(event, Window)] == alone
