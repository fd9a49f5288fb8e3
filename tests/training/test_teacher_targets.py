"""What the teacher's targets depend on, and when they are computed."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from streamer.corpora.audio_store import AudioStore
from streamer.corpora.augment import Augmentation
from streamer.corpora.corpus import Clip, clips_of, read_corpora
from streamer.corpora.speed_versions import SpeedVersions
from streamer.emotion.labels import LABELS
from streamer.training.teacher import BASE, TINY, WhisperTeacher
from streamer.training.teacher_targets import COMPONENTS, TeacherStore, TeacherTargets, fit_probes
from streamer.training.trainer import train_epoch
from tests.training.small_run import QUICK, silent
from tests.training.small_run import prepared as prepared_run

pytestmark = pytest.mark.slow  # models are loaded, or whole programs run


@pytest.fixture(scope="module")
def teacher() -> WhisperTeacher:
    torch.manual_seed(0)
    return WhisperTeacher()


@pytest.fixture(scope="module")
def clips(corpus: Path) -> list[Clip]:
    return clips_of(read_corpora([corpus]))


@pytest.fixture(scope="module")
def speeds(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> SpeedVersions:
    audio = AudioStore(tmp_path_factory.mktemp("audio"))
    audio.prepare(clips, silent)
    return SpeedVersions(audio, 3, 0, Augmentation(speed=1.0))


def prepared(teacher: WhisperTeacher, clips: list[Clip], speeds: SpeedVersions, folder: Path) -> TeacherStore:
    store = TeacherStore(folder, ["ravdess"], teacher, clips, speeds)
    store.prepare(0, silent)
    return store


@pytest.fixture(scope="module")
def store(
    teacher: WhisperTeacher, clips: list[Clip], speeds: SpeedVersions, tmp_path_factory: pytest.TempPathFactory
) -> TeacherStore:
    """Targets of all clips; read only."""
    return prepared(teacher, clips, speeds, tmp_path_factory.mktemp("targets"))


@pytest.fixture
def features(store: TeacherStore, tmp_path: Path) -> Path:
    """A folder of the test's own with the teacher's features of all clips, and no soft labels."""
    folder = tmp_path / "features"
    shutil.copytree(store.folder, folder, ignore=shutil.ignore_patterns("*opinions*"))
    return folder


def test_every_clip_has_frame_targets_statistics_and_a_soft_label(store: TeacherStore, clips: list[Clip]) -> None:
    for clip in clips:
        soft_label = store.probabilities("ravdess", clip.key)
        assert soft_label is not None
        assert soft_label.sum() == pytest.approx(1, abs=1e-5)
        assert np.flatnonzero(soft_label).tolist() == [0, 4]  # the corpus has neutral and angry
        assert store.frames[clip.key].shape == (25, COMPONENTS)  # 0.5 s x 50
        assert store.utterance(clip.key).shape == (COMPONENTS,)


def test_a_soft_label_does_not_depend_on_labels_of_its_own_speaker(
    teacher: WhisperTeacher, clips: list[Clip], speeds: SpeedVersions, store: TeacherStore, features: Path
) -> None:
    other = {"neutral": "angry", "angry": "neutral"}
    turned = [replace(clip, label=other[clip.label]) if clip.speaker == "02" else clip for clip in clips]
    after = prepared(teacher, turned, speeds, features)
    changed = set()
    for clip in clips:
        one, two = store.probabilities("ravdess", clip.key), after.probabilities("ravdess", clip.key)
        assert one is not None
        assert two is not None
        if not np.allclose(one, two, atol=1e-4):
            changed.add(clip.speaker)
    assert changed
    assert "02" not in changed


def test_one_speaker_alone_gets_no_soft_labels(
    teacher: WhisperTeacher, clips: list[Clip], speeds: SpeedVersions, tmp_path: Path
) -> None:
    alone = [clip for clip in clips if clip.speaker == "01"]
    store = prepared(teacher, alone, speeds, tmp_path)
    assert [store.probabilities("ravdess", clip.key) for clip in alone] == [None] * len(alone)
    assert all(clip.key in store for clip in alone)


def test_cached_targets_are_not_computed_again(
    teacher: WhisperTeacher, clips: list[Clip], speeds: SpeedVersions, store: TeacherStore
) -> None:
    again = TeacherStore(store.folder, ["ravdess"], teacher, clips, speeds)
    again.prepare(0, lambda items, what: pytest.fail(f"{what} again"))
    assert again.probabilities("ravdess", clips[0].key) is not None


@pytest.mark.slow
def test_another_teacher_has_targets_of_its_own(
    clips: list[Clip], speeds: SpeedVersions, store: TeacherStore, features: Path
) -> None:
    torch.manual_seed(2)
    other = prepared(WhisperTeacher(), clips, speeds, features)
    assert not np.allclose(store.utterance(clips[0].key), other.utterance(clips[0].key))


def test_soft_labels_are_computed_anew_for_other_training_clips(
    teacher: WhisperTeacher,
    clips: list[Clip],
    speeds: SpeedVersions,
    store: TeacherStore,
    features: Path,
    tmp_path: Path,
) -> None:
    """Those of an earlier split depend on labels of speakers that are test speakers now."""
    shutil.copytree(store.folder, tmp_path / "shared")
    fewer = [clip for clip in clips if clip.speaker != "04"]
    shared = prepared(teacher, fewer, speeds, tmp_path / "shared")
    alone = prepared(teacher, fewer, speeds, features)
    for clip in fewer:
        one, two = shared.probabilities("ravdess", clip.key), alone.probabilities("ravdess", clip.key)
        assert one is not None
        assert two is not None
        assert one.argmax() == two.argmax()
    assert all(shared.probabilities("ravdess", clip.key) is None for clip in clips if clip.speaker == "04")


def test_a_speed_version_has_targets_of_its_own(store: TeacherStore, clips: list[Clip], speeds: SpeedVersions) -> None:
    key = clips[0].key
    name = speeds.name(key, 2)
    pace = speeds.pace(key, 2)
    assert name != key
    assert len(speeds.samples(name)) == pytest.approx(12_000 / pace, abs=2)  # 0.5 s x 24,000
    assert len(store.frames[name]) == pytest.approx(25 / pace, abs=1)
    assert not np.allclose(store.utterance(name), store.utterance(key))
    assert store.probabilities("ravdess", name) is not None


@pytest.mark.slow
def test_every_corpus_has_logits_for_every_clip(
    teacher: WhisperTeacher, clips: list[Clip], speeds: SpeedVersions, tmp_path: Path
) -> None:
    other = [replace(clip, corpus="other", label="sad" if clip.label == "angry" else "happy") for clip in clips]
    speeds.audio.prepare(other, silent)
    store = TeacherStore(tmp_path, ["ravdess", "other"], teacher, [*clips, *other], speeds)
    store.prepare(0, silent)
    for clip in (*clips, *other):
        logits = store.logits(clip.key)
        assert logits.shape == (2, len(LABELS))
        assert np.flatnonzero(logits[0]).tolist() == [LABELS.index("neutral"), LABELS.index("angry")]
        assert np.flatnonzero(logits[1]).tolist() == [LABELS.index("happy"), LABELS.index("sad")]
        assert logits.sum(axis=1) == pytest.approx([0, 0], abs=1e-5)


def test_a_probe_is_held_out_for_other_corpora_and_for_speakers_it_was_not_fitted_to(clips: list[Clip]) -> None:
    features = np.random.default_rng(0).standard_normal((len(clips), 5)).astype(np.float32)
    probes = fit_probes(features, clips)
    assert len(probes) == 4  # a fold for each of four speakers
    for clip in clips:
        assert sum(probe.is_held_out(clip) for probe in probes) == 1
        assert all(probe.is_held_out(replace(clip, corpus="other")) for probe in probes)


def test_two_teachers_targets_lie_side_by_side(store: TeacherStore, clips: list[Clip]) -> None:
    key, both = clips[0].key, TeacherTargets([store, store])
    assert key in both
    assert "nothing" not in both
    assert both.of_frames(key).shape == (25, 2 * COMPONENTS)
    assert np.array_equal(both.of_frames(key)[:, COMPONENTS:], store.of_frames(key))
    assert np.array_equal(both.utterance(key), np.tile(store.utterance(key), 2))
    assert np.array_equal(both.logits(key), np.tile(store.logits(key), (2, 1)))
    alone, together = store.probabilities("ravdess", key), both.probabilities("ravdess", key)
    assert alone is not None
    assert together is not None
    assert np.allclose(together, alone)


def test_a_student_learns_from_tiny_and_base(corpus: Path, work: Path) -> None:
    torch.manual_seed(0)
    files = []
    for anatomy in (TINY, BASE):
        files.append(str(work / f"{anatomy.width}.safetensors"))
        weights = WhisperTeacher(anatomy).state_dict()
        save_file({name: tensor.half() for name, tensor in weights.items()}, files[-1])
    recipe = replace(QUICK, teacher=files[0], second_teacher=files[1])
    _, learner, data = prepared_run(corpus, work, recipe)
    losses = train_epoch(learner, data, recipe, silent)
    assert torch.isfinite(losses).all()
    assert losses[0] > 0
    answers = learner.student.frame_answer
    assert answers.out_features == 2 * COMPONENTS
    assert answers.weight.grad is not None
    assert (answers.weight.grad.abs().sum(dim=1) > 0).all()
