"""Prepare the data of a run: decoded audio, teacher targets, descriptors and stems, cached in its work folder."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from streamer.constants import FRAME_RATE
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.augment import babble_keys
from streamer.corpora.corpus import Clip, clips_of
from streamer.corpora.speed_versions import SpeedVersions
from streamer.extras import require_sklearn
from streamer.progress import Progress
from streamer.training.batches import Windows
from streamer.training.descriptors import DescriptorStore
from streamer.training.learner import Learner
from streamer.training.pooled_windows import HARD_TARGETS, LONGEST_S
from streamer.training.predict import LoadClips, load_audio, load_stems
from streamer.training.run_folder import RunFolder
from streamer.training.stems import StemStore
from streamer.training.teacher import WhisperTeacher
from streamer.training.teacher_targets import TeacherStore, TeacherTargets
from streamer.training.windows import AudioWindows, StemWindows, WindowSource


@dataclass(frozen=True)
class TrainingData:
    """Clips by part of the split, and how they are read."""

    train: Sequence[Clip]
    unlabelled: Sequence[Clip]  # trained on too, for the teachers' features alone
    validation: Sequence[Clip]
    test: Sequence[Clip]
    load: LoadClips  # reads whole clips: audio, or cached stems
    windows: Windows  # draws training batches
    head_windows: Windows  # draws the windows that the head is refitted to


def prepare_data(run: RunFolder, learner: Learner, device: torch.device, progress: Progress[Any]) -> TrainingData:
    """Compute what the work folder does not hold yet, and return the data of the run.

    Raises:
        UsageError: the teacher or the descriptors need a package that is not installed.
        StreamerError: a recording cannot be read, or the teacher's weights cannot be fetched.
    """
    recipe, train = run.recipe, run.clips("train")
    heard = [*train, *run.unlabelled]
    audio = AudioStore(run.path)
    audio.prepare([*clips_of(run.corpora), *run.unlabelled], progress)
    versions = SpeedVersions(audio, 1 if recipe.tune == "all" else recipe.versions, recipe.seed, recipe.augmentation)
    teacher = _prepare_teacher(run, versions, heard, device, progress)
    descriptors = None
    if recipe.weights.descriptors:
        descriptors = DescriptorStore(run.path)
        descriptors.prepare(heard, audio, recipe.seed, progress)
    source: WindowSource
    of_head: WindowSource
    if recipe.tune == "all":
        highpass_hz = learner.student.model.highpass_hz
        source = of_head = AudioWindows(audio, recipe.augmentation, babble_keys(train), highpass_hz)
        load = load_audio(audio, highpass_hz)
    else:
        stems, noises = _prepare_stems(run, learner, versions, heard, progress)
        source, of_head, load = StemWindows(stems, noises), StemWindows(stems, noises, step=2), load_stems(stems)
    frames, head_frames = round(recipe.window_s * FRAME_RATE), round(LONGEST_S * FRAME_RATE)
    return TrainingData(
        train=train,
        unlabelled=run.unlabelled,
        validation=run.clips("validation"),
        test=run.clips("test"),
        load=load,
        windows=Windows(run.corpora, source, teacher, recipe.softness, frames, recipe.delay_s, descriptors),
        head_windows=Windows(run.corpora, of_head, None, HARD_TARGETS, head_frames, delay_s=0.0),
    )


def _prepare_teacher(
    run: RunFolder, versions: SpeedVersions, clips: Sequence[Clip], device: torch.device, progress: Progress[Any]
) -> TeacherTargets | None:
    """Compute the teachers' targets for all versions of clips; None without a teacher."""
    if not run.recipe.teachers:
        return None
    require_sklearn("The teacher's soft labels need", "or leave it out with --no-teacher")
    stores = []
    for source in run.recipe.teachers:
        teacher = WhisperTeacher.load(source).to(device)
        store = TeacherStore(run.path, [corpus.name for corpus in run.corpora], teacher, clips, versions)
        store.prepare(run.recipe.seed, progress)
        stores.append(store)
    return TeacherTargets(stores)


def _prepare_stems(
    run: RunFolder, learner: Learner, versions: SpeedVersions, clips: Sequence[Clip], progress: Progress[Any]
) -> tuple[StemStore, int]:
    """Compute the features below the cut; return them, and how many non-speech sounds the run draws from."""
    recipe, student = run.recipe, learner.student
    encoder = student.model.encoder
    train = run.clips("train")
    stems = StemStore(run.path, student.model, versions, student.cut, babble_keys(train), learner.dtype)
    noises = math.ceil(recipe.non_speech * len(train))
    held_out = run.clips("validation") + run.clips("test")
    stems.prepare(encoder, clips, held_out, noises, progress)
    return stems, noises
