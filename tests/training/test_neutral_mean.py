"""The reference of voice profiles."""

from pathlib import Path

import numpy as np
import pytest
import torch

from streamer.corpora.corpus import Clip
from streamer.emotion import EmotionDetectionModel
from streamer.training.neutral_mean import balanced_mean, neutral_mean
from streamer.training.predict import ClipEncoder, offline_encoding


def clip(corpus: str, speaker: str, label: str = "neutral", number: int = 0) -> Clip:
    return Clip(path=Path(f"{corpus}-{speaker}-{label}-{number}.wav"), label=label, speaker=speaker, corpus=corpus)


def test_speakers_count_alike_in_their_corpus_and_corpora_count_alike() -> None:
    clips = [clip("a", "1", number=0), clip("a", "1", number=1), clip("a", "2"), clip("b", "1")]
    vectors = np.array([[0.0], [2.0], [3.0], [10.0]])
    assert balanced_mean(vectors, clips).tolist() == [((1.0 + 3.0) / 2 + 10.0) / 2]


def loaded(clips: list[Clip]) -> tuple[torch.Tensor, list[int]]:
    """Three seconds each, noise of the clip's own."""
    rows = [torch.randn(225 * 320, generator=torch.Generator().manual_seed(len(str(c.path)))) * 0.05 for c in clips]
    return torch.stack(rows), [225] * len(rows)


def test_only_neutral_clips_count_and_only_their_middle() -> None:
    model = EmotionDetectionModel().eval()
    clips = [clip("a", "1"), clip("a", "22", "angry")]
    mean = neutral_mean(ClipEncoder(model, loaded, offline_encoding(model)), clips)
    audio, _ = loaded(clips[:1])
    with torch.inference_mode():
        pooled, _ = model.pooling(model.encoder(audio[:, None])[:, :, 37:187])  # 2 s of 3
    assert mean == pytest.approx(pooled[0, :128].tolist(), abs=1e-4)


def test_without_neutral_speech_there_is_no_mean() -> None:
    model = EmotionDetectionModel().eval()
    assert neutral_mean(ClipEncoder(model, loaded, offline_encoding(model)), [clip("a", "1", "angry")]) is None
