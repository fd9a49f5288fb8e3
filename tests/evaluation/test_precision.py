"""The precisions of the encoder are compared with float32, which is exact."""

import pytest

from streamer.codec.cpu.pack import supported
from streamer.codec.precision import PRECISIONS
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Corpus
from streamer.emotion import EmotionDetectionModel
from streamer.evaluation import precision
from streamer.evaluation.precision import measure_precisions
from streamer.training.predict import ClipEncoder
from tests.evaluation.conftest import silent


def test_each_precision_is_compared_with_float32(
    spoken: tuple[AudioStore, Corpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_ROWS", 2)  # there are two clips
    audio, corpus = spoken
    model = EmotionDetectionModel.from_checkpoint("bundled")
    effects = measure_precisions(model, audio, [corpus], corpus.clips, silent)
    assert list(effects) == [name for name in PRECISIONS if supported(name)]
    exact = effects.pop("float32")
    assert (exact.unchanged, exact.embedding_error) == (1, 0)
    assert exact.uars == ClipEncoder.from_audio(model, audio).predict([corpus], corpus.clips).uars()
    for effect in effects.values():
        assert 0 < effect.embedding_error < 0.1
