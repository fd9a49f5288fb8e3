"""Voice profiles of test speakers, from their other neutral clips."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from streamer.constants import POOLED_DIM
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Clip, Corpus
from streamer.corpora.splits import DEFAULT_SEED
from streamer.emotion import EmotionDetectionModel
from streamer.evaluation.voice_profiles import MOST_CLIPS, _neutral_embeddings, measure_voice_profiles
from tests.evaluation.conftest import silent

CLIPS = [
    Clip(Path(f"{speaker}-{label}-{number}.wav"), "c", label, speaker)
    for speaker in ("one", "two")
    for label in ("neutral", "angry")
    for number in range(12)
]


def embeddings(means: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    neutral = {clip: mean for clip, mean in zip(CLIPS, means, strict=True) if clip.label == "neutral"}
    return _neutral_embeddings(neutral, CLIPS, DEFAULT_SEED)


def test_a_profile_is_of_other_neutral_clips_of_the_same_speaker_and_of_no_more_than_20_s() -> None:
    used = embeddings(np.eye(len(CLIPS), dtype=np.float32)) > 0  # [N, N] which clips a profile is made of
    for row, clip in enumerate(CLIPS):
        assert not used[row, row]
        assert used[row].sum() == MOST_CLIPS
        assert {(CLIPS[other].speaker, CLIPS[other].label) for other in np.flatnonzero(used[row])} == {
            (clip.speaker, "neutral")
        }


def test_the_offset_of_a_speaker_is_removed() -> None:
    means = np.zeros((len(CLIPS), 3), dtype=np.float32)
    means[[clip.speaker == "two" for clip in CLIPS]] = (1, -2, 0.5)
    np.testing.assert_allclose(means - embeddings(means), 0, atol=1e-6)


@pytest.mark.parametrize("label", ["angry", "neutral"])
def test_without_two_neutral_clips_there_is_no_profile(tmp_path: Path, label: str) -> None:
    model = EmotionDetectionModel.from_checkpoint("bundled")
    clip = Clip(tmp_path / "a.wav", "c", label, "one")
    corpus, pooled = Corpus("c", "none", (clip,)), {clip: np.zeros(POOLED_DIM, dtype=np.float32)}
    assert measure_voice_profiles(model, AudioStore(tmp_path), corpus, pooled, DEFAULT_SEED, silent) is None
