"""A whole evaluation: speakers, splits, protocols, and what is checked before anything is measured."""

from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from streamer.constants import SAMPLE_RATE
from streamer.corpora.corpus import read_corpora
from streamer.corpora.splits import Split
from streamer.decoding.files import read_whole
from streamer.emotion.card import Speakers
from streamer.emotion.checkpoint import load_checkpoint, save_checkpoint
from streamer.errors import UsageError
from streamer.evaluation.evaluate import evaluate
from streamer.evaluation.options import EvaluationOptions
from streamer.evaluation.report import markdown
from streamer.evaluation.results import Evaluation
from streamer.sources.demo import DEMO
from streamer.training.predict import ClipEncoder
from tests.evaluation.conftest import silent

pytestmark = pytest.mark.slow  # whole trainings, or the program's own worker


def run(folder: Path, options: EvaluationOptions, work: Path) -> Evaluation:
    return evaluate("measured", read_corpora([folder]), options, work, print, silent)


def test_only_speakers_unknown_to_the_checkpoint_are_tested(evaluation: Evaluation) -> None:
    (result,) = evaluation.corpora
    assert result.speakers == ("01", "03")  # its own test speaker, and one that it does not know
    assert result.clips.count == 4 * 2
    assert sum(map(sum, result.clips.confusion)) == result.clips.count


def test_predictions_are_among_the_corpus_s_labels(evaluation: Evaluation) -> None:
    (result,) = evaluation.corpora
    assert result.labels == ("neutral", "angry")
    assert [sum(row) for row in result.clips.confusion] == [4, 4]
    assert result.clips.interval[0] <= result.clips.uar <= result.clips.interval[1]


def test_voice_profiles_are_measured_on_the_same_clips(evaluation: Evaluation) -> None:
    (result,) = evaluation.corpora
    calibrated = result.calibrated
    assert calibrated is not None
    assert (calibrated.speakers, calibrated.clips) == (2, result.clips.count)
    assert calibrated.uar_before == result.clips.uar
    assert calibrated.difference[0] <= calibrated.uar_after - calibrated.uar_before <= calibrated.difference[1]


def test_gain_and_noise_and_rooms_are_in_the_table(evaluation: Evaluation) -> None:
    assert evaluation.robustness is not None
    changes = evaluation.robustness.changes
    assert {"gain +6 dB", "gain -12 dB", "pink noise 20 dB", "babble 5 dB", "room 0.4 s"} <= set(changes)
    assert all(0 <= survival.unchanged <= 1 for survival in changes.values())


def test_a_split_of_other_speakers_is_refused(corpus_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text('{"seed": 1, "train": [], "validation": [], "test": ["crema-d/1001"]}')
    with pytest.raises(UsageError, match="No speaker of ravdess is left to test"):
        run(corpus_folder, EvaluationOptions(split=tmp_path / "split.json"), tmp_path)


def test_a_split_that_tests_a_known_speaker_is_refused(corpus_folder: Path, tmp_path: Path) -> None:
    Split(1, train=("ravdess/01",), validation=("ravdess/03",), test=("ravdess/02",)).save(tmp_path / "split.json")
    with pytest.raises(UsageError, match=r"\S+ was trained or tuned on this speaker"):
        run(corpus_folder, EvaluationOptions(split=tmp_path / "split.json"), tmp_path)


def test_missing_recordings_are_found_before_anything_is_measured(corpus_folder: Path, tmp_path: Path) -> None:
    options = EvaluationOptions(without_voice=(tmp_path / "lost.wav",))
    corpora = read_corpora([corpus_folder])
    with pytest.raises(UsageError, match="no recording"):
        evaluate("measured", corpora, options, tmp_path, print, lambda items, what: pytest.fail(what))


def test_an_evaluation_uses_the_vectors_of_an_earlier_one(
    corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_else = EvaluationOptions(
        streams=0, robustness_clips=0, live_clips=0, noise_minutes=0, peers=False, voices=False
    )
    first = run(corpus_folder, nothing_else, tmp_path)
    monkeypatch.setattr(ClipEncoder, "pooled", lambda *args: pytest.fail("encoded twice"))
    assert run(corpus_folder, nothing_else, tmp_path) == first


def test_kfold_tests_every_unknown_speaker_and_the_report_names_the_classifier(
    corpus_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("sklearn")
    options = EvaluationOptions(
        protocol="kfold", folds=2, streams=0, robustness_clips=0, live_clips=0, noise_minutes=0, peers=False
    )
    evaluation = run(corpus_folder, options, tmp_path)
    assert evaluation.corpora[0].clips.count == 8
    assert evaluation.corpora[0].speakers == ("01", "03")  # `measured` was trained on 02 of RAVDESS and tuned on 04
    assert "logistic regression" in markdown(evaluation)
    assert "Speakers known to the checkpoint are only trained on." in markdown(evaluation)


def test_several_checkpoints_test_every_speaker_that_one_of_them_does_not_know(
    corpus_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("sklearn")
    stored = load_checkpoint("measured")
    known = Speakers(train=("ravdess/01",), validation=("ravdess/03",), test=("ravdess/02", "ravdess/04"))
    save_checkpoint(tmp_path / "other.safetensors", stored.tensors, replace(stored.card, name="other", speakers=known))
    options = EvaluationOptions(
        protocol="loso",
        also=(tmp_path / "other.safetensors",),
        streams=0,
        robustness_clips=0,
        live_clips=0,
        noise_minutes=0,
        peers=False,
    )
    evaluation = run(corpus_folder, options, tmp_path)
    (result,) = evaluation.corpora
    assert result.speakers == ("01", "02", "03", "04")
    assert (result.clips.count, sum(map(sum, result.clips.confusion))) == (16, 16)
    assert evaluation.also == ("other",)


def test_a_further_checkpoint_must_record_its_speakers(corpus_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    stored = load_checkpoint("measured")
    save_checkpoint(tmp_path / "other.safetensors", stored.tensors, replace(stored.card, speakers=None))
    options = EvaluationOptions(protocol="loso", also=(tmp_path / "other.safetensors",))
    with pytest.raises(UsageError, match="does not list its training speakers"):
        run(corpus_folder, options, tmp_path)


def test_streams_of_test_speakers_foreign_corpora_and_natural_speech_come_first_in_the_report(
    corpus_folder: Path, tmp_path: Path
) -> None:
    foreign, speech = tmp_path / "foreign.csv", tmp_path / "speech.wav"
    rows = [
        f"{file},{label},stranger"
        for file, label in zip(sorted(corpus_folder.rglob("*.wav")), ["sad", "angry"], strict=False)
    ]
    foreign.write_text("path,label,speaker\n" + "\n".join(rows) + "\n")
    soundfile.write(speech, read_whole(DEMO)[: 5 * SAMPLE_RATE], SAMPLE_RATE)
    options = EvaluationOptions(
        streams=1, conditions=True, foreign=(foreign,), natural=(speech,), robustness_clips=0, live_clips=0,
        noise_minutes=0, peers=False, voices=False,
    )  # fmt: skip
    evaluation = run(corpus_folder, options, tmp_path)
    report = markdown(evaluation)
    assert evaluation.natural["speech"].minutes == pytest.approx(5 / 60, rel=0.01)
    assert report.index("Natural speech") < report.index("## Clips")


@pytest.mark.parametrize("option", ["natural", "foreign"])
def test_what_to_listen_to_is_looked_for_before_anything_is_measured(
    corpus_folder: Path, tmp_path: Path, option: str
) -> None:
    options = EvaluationOptions(**{option: (tmp_path / "lost",)})  # type: ignore[arg-type]
    corpora = read_corpora([corpus_folder])
    with pytest.raises(UsageError, match="There is no"):
        evaluate("measured", corpora, options, tmp_path, print, lambda items, what: pytest.fail(what))
