import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from streamer.audio.files import read_lenient
from streamer.audio.open import DEMO
from streamer.codec.cpu.pack import PRECISIONS, supported
from streamer.constants import SAMPLE_RATE
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Clip, Corpus, read_corpora, read_corpus
from streamer.corpora.splits import Split, split_speakers
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import Speakers
from streamer.emotion.checkpoint import load_checkpoint, save_checkpoint
from streamer.emotion.pooling import POOLED_DIM
from streamer.errors import UsageError
from streamer.evaluation import evaluate as evaluate_module
from streamer.evaluation.baselines import PeerResult, loudness_features
from streamer.evaluation.cross_validation import folds_of, folds_of_each, joined, refit_probabilities
from streamer.evaluation.evaluate import Evaluation, EvaluationOptions, evaluate
from streamer.evaluation.false_alarms import SOUNDS, false_alarms
from streamer.evaluation.precision import measure_precisions
from streamer.evaluation.report import markdown, write_report
from streamer.evaluation.through_worker import ROWS, Monitored, in_a_quiet_room, offline_labels, stream_clips
from streamer.events import Window
from streamer.training.predict import ClipEncoder
from tests.support.training_corpus import write_corpus

SEED = 1


def silent(items: Any, what: str) -> Any:
    return items


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data") / "corpus")


@pytest.fixture(scope="module")
def evaluation(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    options = EvaluationOptions(robustness_clips=2, live_clips=0, noise_minutes=0, peers=False)
    return evaluate("measured", read_corpora([corpus]), options, tmp_path_factory.mktemp("work"), print, silent)


@pytest.fixture(scope="module")
def monitored() -> Monitored:
    card = replace(load_checkpoint("bundled").card, window_s=0.6, hop_s=0.24)
    return Monitored("bundled", card, threads=1)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> tuple[AudioStore, Corpus]:
    """Two clips of synthetic speech, which voice activity takes for a voice."""
    folder = tmp_path_factory.mktemp("spoken")
    speech = read_lenient(DEMO)
    clips = []
    for number, first_s in enumerate((0, 1)):
        path = folder / f"{number}.wav"
        soundfile.write(path, speech[first_s * SAMPLE_RATE : round((first_s + 1.3) * SAMPLE_RATE)], SAMPLE_RATE)
        clips.append(Clip(path, "spoken", ("neutral", "angry")[number], f"speaker {number}"))
    audio = AudioStore(folder / "work")
    audio.prepare(clips, silent)
    return audio, Corpus("spoken", "none", tuple(clips))


def test_only_speakers_are_measured_whom_the_checkpoint_has_not_heard(evaluation: Evaluation) -> None:
    (result,) = evaluation.corpora
    assert result.speakers == ("01", "03")  # its own test speaker, and one that it does not know
    assert result.clips.count == 4 * 2
    assert sum(map(sum, result.clips.confusion)) == result.clips.count


def test_answers_are_among_the_corpus_s_labels(evaluation: Evaluation) -> None:
    (result,) = evaluation.corpora
    assert result.labels == ("neutral", "angry")
    assert [sum(row) for row in result.clips.confusion] == [4, 4]
    assert result.clips.interval[0] <= result.clips.uar <= result.clips.interval[1]


def test_voices_are_calibrated_on_their_other_neutral_clips(evaluation: Evaluation) -> None:
    (result,) = evaluation.corpora
    calibrated = result.calibrated
    assert calibrated is not None
    assert (calibrated.speakers, calibrated.clips) == (2, result.clips.count)
    assert calibrated.uar_before == result.clips.uar
    assert calibrated.difference[0] <= calibrated.uar_after - calibrated.uar_before <= calibrated.difference[1]
    assert "## Calibrated voices" in markdown(evaluation)


def test_gain_and_noise_and_rooms_are_in_the_table(evaluation: Evaluation) -> None:
    assert evaluation.robustness is not None
    changes = evaluation.robustness.changes
    assert {"gain +6 dB", "gain -12 dB", "pink noise 20 dB", "babble 5 dB", "room 0.4 s"} <= set(changes)
    assert all(0 <= survival.unchanged <= 1 for survival in changes.values())


def test_each_precision_is_compared_with_float32(spoken: tuple[AudioStore, Corpus]) -> None:
    audio, corpus = spoken
    model = EmotionDetectionModel.from_checkpoint("bundled")
    effects = measure_precisions(model, audio, [corpus], corpus.clips, silent)
    assert list(effects) == [precision for precision in PRECISIONS if supported(precision)]
    exact = effects.pop("float32")
    assert (exact.unchanged, exact.embedding_error) == (1, 0)
    assert exact.uars == ClipEncoder.from_audio(model, audio).predict([corpus], corpus.clips).uars()
    for effect in effects.values():
        assert 0 < effect.embedding_error < 0.1


def test_every_streamed_window_has_the_offline_label(monitored: Monitored, spoken: tuple[AudioStore, Corpus]) -> None:
    audio, corpus = spoken
    live = stream_clips(monitored, audio, corpus, corpus.clips, 0.4, SEED, silent)
    assert live is not None
    assert live.clips == 2
    assert live.windows.count > 6
    assert set(live.windows.of_speakers) == {"speaker 0", "speaker 1"}
    assert live.same_as_offline == 1


def test_another_model_s_windows_are_told_apart(monitored: Monitored, spoken: tuple[AudioStore, Corpus]) -> None:
    audio, corpus = spoken
    room = in_a_quiet_room(audio[f"spoken/{corpus.clips[0].path.name}"], 0.6, np.random.default_rng(SEED))
    (events,) = monitored.hear([room])
    windows = [event for event in events if isinstance(event, Window) and event.probs is not None]
    said = [monitored.model.labels[column] for column in offline_labels(monitored.model, room, windows)]
    assert said == [max(window.probs or {}, key=(window.probs or {}).__getitem__) for window in windows]
    shifted = [replace(window, start_s=0.0, end_s=0.4) for window in windows]  # the room before the clip
    assert said != [monitored.model.labels[column] for column in offline_labels(monitored.model, room, shifted)]


def test_a_clip_without_a_voice_has_no_windows(monitored: Monitored, corpus: Path, tmp_path: Path) -> None:
    quiet = tmp_path / "quiet.wav"
    soundfile.write(quiet, np.zeros(SAMPLE_RATE // 2), SAMPLE_RATE)
    clip = Clip(quiet, "quiet", "neutral", "nobody")
    audio = AudioStore(tmp_path / "work")
    audio.prepare([clip], silent)
    assert stream_clips(monitored, audio, Corpus("quiet", "", (clip,)), [clip], 0.4, SEED, silent) is None


def test_more_recordings_than_the_worker_has_rows_are_refused(monitored: Monitored) -> None:
    with pytest.raises(ValueError, match="rows"):
        monitored.hear([np.zeros(320, dtype=np.float32)] * (ROWS + 1))


def test_a_recording_is_heard_alike_after_another_one(monitored: Monitored, spoken: tuple[AudioStore, Corpus]) -> None:
    audio, corpus = spoken
    first, second = (audio[f"spoken/{clip.path.name}"] for clip in corpus.clips)
    alone = [event.probs for event in monitored.hear([second])[0] if isinstance(event, Window)]
    monitored.hear([first, first])
    assert [event.probs for event in monitored.hear([second])[0] if isinstance(event, Window)] == alone


def test_sounds_without_a_voice_are_counted_by_the_hour(monitored: Monitored, tmp_path: Path) -> None:
    speech = read_lenient(DEMO)[:SAMPLE_RATE]
    soundfile.write(tmp_path / "a voice after all.wav", speech, SAMPLE_RATE)
    alarms = false_alarms(monitored, 0.03, [tmp_path], SEED, silent)
    assert list(alarms) == [*SOUNDS, tmp_path.stem]
    assert alarms["silence"].started == alarms["white noise"].started == 0
    assert alarms["music"].minutes == pytest.approx(0.03, rel=0.01)
    assert alarms[tmp_path.stem].voiced > 0.5
    assert alarms[tmp_path.stem].minutes == pytest.approx(3 / 60)


def test_recordings_without_a_voice_must_be_there(monitored: Monitored, tmp_path: Path) -> None:
    for path in (tmp_path / "lost.wav", tmp_path):
        with pytest.raises(UsageError, match="no recording"):
            false_alarms(monitored, 0, [path], SEED, silent)


def test_the_report_is_written_as_json_and_text_and_pictures(evaluation: Evaluation, tmp_path: Path) -> None:
    written = write_report(evaluation, tmp_path / "report")
    assert all(path.stat().st_size for path in written)
    values = json.loads((tmp_path / "report" / "evaluation.json").read_text(), parse_constant=pytest.fail)
    assert values["corpora"][0]["clips"]["uar"] == evaluation.corpora[0].clips.uar
    assert "NaN" not in (tmp_path / "report" / "report.md").read_text()


def test_the_report_shows_windows_peers_and_alarms(
    evaluation: Evaluation, monitored: Monitored, spoken: tuple[AudioStore, Corpus]
) -> None:
    audio, corpus = spoken
    live = stream_clips(monitored, audio, corpus, corpus.clips, 0.4, SEED, silent)
    (result,) = evaluation.corpora
    peers = {"eGeMAPS + SVM": PeerResult(0.5, (0.4, 0.6), 0.51)}
    measured = replace(result, labels=corpus.labels, live=live, peers=peers)
    alarms = false_alarms(monitored, 0.01, (), SEED, silent)
    text = markdown(replace(evaluation, corpora=(measured,), false_alarms=alarms))
    assert "windows in the worker" in text
    assert "| ravdess | eGeMAPS + SVM | 2 | 8 | 0.500 | 0.400 to 0.600 | 0.510 |" in text
    assert "| white noise | 0.0 | 0 |" in text


def test_the_report_names_its_split_and_its_model(evaluation: Evaluation) -> None:
    text = markdown(evaluation)
    assert f"split seed {evaluation.seed}" in text
    assert evaluation.sha256[:16] in text
    assert "## Unchanged answers, 2 whole clips" in text


def test_a_split_of_other_speakers_is_refused(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text('{"seed": 1, "train": [], "validation": [], "test": ["crema-d/1001"]}')
    options = EvaluationOptions(split=tmp_path / "split.json")
    with pytest.raises(UsageError, match="No speaker of ravdess is tested"):
        evaluate("measured", read_corpora([corpus]), options, tmp_path, print, silent)


def test_a_split_that_tests_whom_the_checkpoint_has_heard_is_refused(corpus: Path, tmp_path: Path) -> None:
    Split(1, train=("ravdess/01",), validation=("ravdess/03",), test=("ravdess/02",)).save(tmp_path / "split.json")
    with pytest.raises(UsageError, match=r"\S+ was trained or tuned on that voice"):
        evaluate(
            "measured",
            read_corpora([corpus]),
            EvaluationOptions(split=tmp_path / "split.json"),
            tmp_path,
            print,
            silent,
        )


def test_recordings_without_a_voice_are_looked_for_before_anything_is_measured(corpus: Path, tmp_path: Path) -> None:
    options = EvaluationOptions(without_voice=(tmp_path / "lost.wav",))
    with pytest.raises(UsageError, match="no recording"):
        evaluate("measured", read_corpora([corpus]), options, tmp_path, print, lambda items, what: pytest.fail(what))


@pytest.mark.parametrize(("what", "cure"), [({"live_clips": -1}, "use 0"), ({"folds": 1}, "2 or more")])
def test_impossible_amounts_are_refused(what: dict[str, int], cure: str) -> None:
    with pytest.raises(UsageError, match=cure):
        EvaluationOptions(**what)  # type: ignore[arg-type]


@pytest.mark.parametrize(("protocol", "count"), [("kfold", 3), ("loso", 4)])
def test_folds_answer_for_every_clip_and_never_know_its_speaker(corpus: Path, protocol: Any, count: int) -> None:
    read = read_corpus(corpus)
    folds = folds_of(read, protocol, split_speakers([read]), 3)
    assert len(folds.parts) == count
    assert folds.tested.tolist() == list(range(len(read.clips)))
    for train, test in folds.parts:
        assert not {folds.clips[row].speaker for row in train} & {folds.clips[row].speaker for row in test}


@pytest.mark.parametrize(("protocol", "count"), [("kfold", 2), ("loso", 3)])
def test_whom_the_checkpoint_knows_is_learnt_from_in_every_fold_and_never_answered_for(
    corpus: Path, protocol: Any, count: int
) -> None:
    read = read_corpus(corpus)
    known = read.speakers[1]
    folds = folds_of(read, protocol, split_speakers([read]), 2, [f"{read.name}/{known}"])
    assert len(folds.parts) == count
    assert folds.tested.tolist() == [row for row, clip in enumerate(read.clips) if clip.speaker != known]
    for train, _ in folds.parts:
        assert {row for row, clip in enumerate(read.clips) if clip.speaker == known} <= set(train.tolist())


@pytest.mark.parametrize("protocol", ["kfold", "loso"])
def test_a_stranger_to_several_checkpoints_is_answered_for_by_the_first(corpus: Path, protocol: Any) -> None:
    read = read_corpus(corpus)
    one, two, three, four = (f"{read.name}/{speaker}" for speaker in read.speakers)
    of_each = folds_of_each(read, protocol, split_speakers([read]), 2, [{one, two}, {three}, {one, two, three, four}])
    answered = [{f"{read.name}/{own.clips[row].speaker}" for row in own.tested} for own in of_each]
    assert answered == [{three, four}, {one, two}, set()]
    assert joined(of_each).tested.tolist() == list(range(len(read.clips)))


def test_several_checkpoints_measure_everyone_whom_one_of_them_has_not_heard(corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    stored = load_checkpoint("measured")
    known = Speakers(train=("ravdess/01",), validation=("ravdess/03",), test=("ravdess/02", "ravdess/04"))
    save_checkpoint(tmp_path / "other.safetensors", stored.tensors, replace(stored.card, name="other", speakers=known))
    options = EvaluationOptions(
        protocol="loso", also=(tmp_path / "other.safetensors",), robustness_clips=0, live_clips=0, noise_minutes=0
    )
    evaluation = evaluate("measured", read_corpora([corpus]), options, tmp_path, print, silent)
    (result,) = evaluation.corpora
    assert result.speakers == ("01", "02", "03", "04")
    assert (result.clips.count, sum(map(sum, result.clips.confusion))) == (16, 16)
    assert set(result.peers) >= {"eGeMAPS + SVM"}
    assert "whom it has heard other answers" in markdown(evaluation)


def test_what_an_evaluation_heard_serves_the_next_one(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_else = EvaluationOptions(robustness_clips=0, live_clips=0, noise_minutes=0, peers=False, voices=False)
    first = evaluate("measured", read_corpora([corpus]), nothing_else, tmp_path, print, silent)
    monkeypatch.setattr(evaluate_module.ClipEncoder, "pooled", lambda *args: pytest.fail("encoded twice"))
    assert evaluate("measured", read_corpora([corpus]), nothing_else, tmp_path, print, silent) == first


def test_only_checkpoints_that_say_whom_they_heard_answer_also(corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    stored = load_checkpoint("measured")
    save_checkpoint(tmp_path / "other.safetensors", stored.tensors, replace(stored.card, speakers=None))
    options = EvaluationOptions(protocol="loso", also=(tmp_path / "other.safetensors",))
    with pytest.raises(UsageError, match="does not say whom"):
        evaluate("measured", read_corpora([corpus]), options, tmp_path, print, silent)


def test_one_checkpoint_answers_under_holdout(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--protocol loso"):
        EvaluationOptions(also=(tmp_path / "other.safetensors",))


def test_holdout_is_one_fold_without_the_validation_speakers(corpus: Path) -> None:
    read = read_corpus(corpus)
    split = split_speakers([read])
    folds = folds_of(read, "holdout", split, 5)
    ((train, test),) = folds.parts
    assert [folds.clips[row] for row in test] == split.select(read.clips, "test")
    assert [folds.clips[row] for row in train] == split.select(read.clips, "train")
    assert len(folds.clips) < len(read.clips)


def test_a_refitted_classifier_learns_from_the_other_speakers_alone(corpus: Path) -> None:
    pytest.importorskip("sklearn")
    read = read_corpus(corpus)
    folds = folds_of(read, "loso", Split(SEED, (), (), ()), 0)
    vectors = np.zeros((len(read.clips), POOLED_DIM), dtype=np.float32)
    vectors[:, 0] = folds.answers  # what tells the labels apart
    for row, clip in enumerate(read.clips):  # and what tells the speakers apart: the last one's labels are swapped
        vectors[row, 0] *= -1 if clip.speaker == read.speakers[-1] else 1
    probs = refit_probabilities(vectors, folds)
    right = probs.argmax(axis=1) == folds.answers
    last = np.array([clip.speaker == read.speakers[-1] for clip in read.clips])
    assert probs.sum(axis=1) == pytest.approx(1)
    assert right[~last].all()
    assert right[last].mean() == 0.5  # everything of that speaker is taken for the label with the smaller vectors


def test_kfold_measures_every_stranger_and_says_what_was_fitted(corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    options = EvaluationOptions(
        protocol="kfold", folds=2, robustness_clips=0, live_clips=0, noise_minutes=0, peers=False
    )
    evaluation = evaluate("measured", read_corpora([corpus]), options, tmp_path, print, silent)
    assert evaluation.corpora[0].clips.count == 8
    assert evaluation.corpora[0].speakers == ("01", "03")  # `measured` was trained on 02 of RAVDESS and tuned on 04
    assert "Whom the checkpoint knows is only learnt from." in markdown(evaluation)


def test_a_level_meter_knows_loudness_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    audio = rng.standard_normal(24_000).astype(np.float32)
    quiet, loud = loudness_features(audio * 0.01), loudness_features(audio * 0.1)
    assert loud[[0, 2, 3, 4]] - quiet[[0, 2, 3, 4]] == pytest.approx(20, abs=0.01)
    assert loud[[1, 5]] == pytest.approx(quiet[[1, 5]], abs=0.01)
