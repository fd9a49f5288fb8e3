import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_corpus import write_corpus

from streamer.emotion import EmotionDetectionModel
from streamer.errors import UsageError
from streamer.training.corpora import read_corpora
from streamer.training.evaluate import Evaluation, EvaluationOptions, evaluate
from streamer.training.live import false_alarms_per_hour, stream_clips
from streamer.training.material import AudioStore
from streamer.training.peers import loudness_features
from streamer.training.report import markdown, write_report
from streamer.training.splits import split_speakers

MODEL_THRESHOLD = 0.4


def silent(items: Any, what: str) -> Any:
    return items


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data") / "corpus")


@pytest.fixture(scope="module")
def evaluation(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    options = EvaluationOptions(robustness_clips=2, live_clips=2, noise_minutes=0, peers=False)
    return evaluate("bundled", read_corpora([corpus]), options, tmp_path_factory.mktemp("work"), print, silent)


def test_only_test_speakers_are_measured(evaluation: Evaluation, corpus: Path) -> None:
    (result,) = evaluation.corpora
    split = split_speakers(read_corpora([corpus]))
    assert {f"ravdess/{speaker}" for speaker in result.speakers} == set(split.test)
    assert result.clips == 4 * len(split.test)
    assert sum(map(sum, result.confusion)) == result.clips


def test_answers_are_among_the_corpus_s_labels(evaluation: Evaluation) -> None:
    (result,) = evaluation.corpora
    assert result.labels == ("neutral", "angry")
    assert [sum(row) for row in result.confusion] == [2, 2]
    assert result.interval[0] <= result.uar <= result.interval[1]


def test_gain_and_noise_and_rooms_are_in_the_table(evaluation: Evaluation) -> None:
    assert {"gain +6 dB", "gain -12 dB", "pink noise 20 dB", "babble 5 dB", "room 0.4 s"} <= set(evaluation.robustness)
    assert all(0 <= share <= 1 for share in evaluation.robustness.values())


def test_streamed_windows_have_the_offline_label(corpus: Path, tmp_path: Path) -> None:
    corpora = read_corpora([corpus])
    audio = AudioStore(tmp_path)
    audio.prepare(corpora[0].clips[:1], silent)
    model = EmotionDetectionModel.from_checkpoint("bundled")
    result = stream_clips(model, audio, corpora[0].clips[:1], corpora[0].labels, 1.0, 0.08, MODEL_THRESHOLD)
    assert result.clips == 1
    assert np.isnan(result.same_as_offline) or result.same_as_offline == 1


def test_noise_is_counted_by_the_hour() -> None:
    model = EmotionDetectionModel.from_checkpoint("bundled")
    rates = false_alarms_per_hour(model, 1.0, 0.24, threshold=1.0, minutes=0.03, seed=0)
    assert set(rates) == {"silence", "white noise", "pink noise", "music"}
    assert all(rate == 0 for rate in rates.values())  # nothing reaches a threshold of 1


def test_the_report_is_written_as_json_and_text_and_pictures(evaluation: Evaluation, tmp_path: Path) -> None:
    written = write_report(evaluation, tmp_path / "report")
    assert all(path.stat().st_size for path in written)
    values = json.loads((tmp_path / "report" / "evaluation.json").read_text(), parse_constant=pytest.fail)
    assert values["corpora"][0]["uar"] == evaluation.corpora[0].uar
    assert "NaN" not in (tmp_path / "report" / "report.md").read_text()


def test_the_report_names_its_split_and_its_model(evaluation: Evaluation) -> None:
    text = markdown(evaluation)
    assert f"split seed {evaluation.seed}" in text
    assert evaluation.sha256[:16] in text
    assert "## Unchanged answers, 2 clips" in text


def test_a_split_of_other_speakers_is_refused(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text('{"seed": 1, "train": [], "validation": [], "test": ["crema-d/1001"]}')
    options = EvaluationOptions(split=tmp_path / "split.json")
    with pytest.raises(UsageError, match="No test speaker"):
        evaluate("bundled", read_corpora([corpus]), options, tmp_path, print, silent)


def test_negative_amounts_are_refused() -> None:
    with pytest.raises(UsageError, match="negative"):
        EvaluationOptions(live_clips=-1)


def test_a_level_meter_knows_loudness_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    audio = rng.standard_normal(24_000).astype(np.float32)
    quiet, loud = loudness_features(audio * 0.01), loudness_features(audio * 0.1)
    assert loud[[0, 2, 3, 4]] - quiet[[0, 2, 3, 4]] == pytest.approx(20, abs=0.01)
    assert loud[[1, 5]] == pytest.approx(quiet[[1, 5]], abs=0.01)
