"""False alarms: emotions that begin without speech."""

from pathlib import Path

import pytest
import soundfile

from streamer.constants import SAMPLE_RATE
from streamer.decoding.files import read_whole
from streamer.errors import UsageError
from streamer.evaluation.false_alarms import SOUNDS, Harnesses, measure_false_alarms
from streamer.evaluation.through_worker import WorkerHarness
from streamer.sources.demo import DEMO
from tests.evaluation.conftest import SEED, silent

pytestmark = pytest.mark.slow  # whole trainings, or the program's own worker


def test_false_alarms_are_counted_by_sound_and_per_hour(harness: WorkerHarness, tmp_path: Path) -> None:
    speech = read_whole(DEMO)[SAMPLE_RATE : 2 * SAMPLE_RATE]
    soundfile.write(tmp_path / "speech after all.wav", speech, SAMPLE_RATE)
    alarms = measure_false_alarms(Harnesses(harness, None), 0.03, [tmp_path], SEED, silent)
    assert list(alarms) == [*SOUNDS, tmp_path.stem]
    assert alarms["silence"].started == alarms["white noise"].started == 0
    assert alarms["music"].minutes == pytest.approx(0.03, rel=0.01)
    assert alarms[tmp_path.stem].voiced > 0.5
    assert alarms[tmp_path.stem].minutes == pytest.approx(3 / 60)


def test_sounds_with_a_pitch_are_among_those_played() -> None:
    assert set(SOUNDS) == {"silence", "white noise", "pink noise", "hum", "buzz", "music"}


def test_missing_recordings_are_refused(harness: WorkerHarness, tmp_path: Path) -> None:
    for path in (tmp_path / "lost.wav", tmp_path):
        with pytest.raises(UsageError, match="no recording"):
            measure_false_alarms(Harnesses(harness, None), 0, [path], SEED, silent)
