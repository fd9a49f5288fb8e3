"""Training batches: windows cut from clips of every corpus, with their label targets and teacher targets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from streamer.arrays import Float32Array
from streamer.constants import FRAME_RATE
from streamer.corpora.corpus import Clip, Corpus
from streamer.emotion.labels import LABELS
from streamer.training.descriptors import DESCRIPTORS, DescriptorStore
from streamer.training.losses import Softness, label_mask, label_target, no_emotion_target
from streamer.training.teacher import at_student_frames
from streamer.training.teacher_targets import COMPONENTS, TeacherTargets
from streamer.training.windows import NON_SPEECH, Cut, WindowSource


@dataclass(frozen=True)
class Batch:
    """B windows of up to F frames; rows are left-aligned."""

    inputs: Tensor  # [B, F x 320] levelled audio, or [B, F, D] cached features
    real: Tensor  # [B, F] bool: frames that a row has
    targets: Tensor  # [B, 8] distributions over LABELS; zeros where there is no label
    masks: Tensor  # [B, 8] bool: labels that the corpus has
    teacher_frames: Tensor  # [B, F, K]
    teacher_utterances: Tensor  # [B, K]
    teacher_logits: Tensor  # [B, C, 8] soft labels of the classifiers on teachers' features, one for each corpus
    has_teacher: Tensor  # [B] bool: rows with teacher targets
    descriptors: Tensor  # [B, F, 89]
    has_descriptors: Tensor  # [B] bool
    follows: Tensor  # [B] bool: rows that go on where the same row of the batch before ended

    def to(self, device: torch.device) -> "Batch":
        """Copy the batch to a device."""
        return Batch(**{name: tensor.to(device) for name, tensor in vars(self).items()})

    def reordered(self, order: Tensor) -> "Batch":
        """Return a batch with row `order[n]` as row n."""
        return Batch(**{name: tensor[order] for name, tensor in vars(self).items()})


@dataclass(frozen=True)
class _TeacherTargets:
    frames: Float32Array  # [B, F, K]
    utterances: Float32Array  # [B, K]
    logits: Float32Array  # [B, C, 8]
    present: list[bool]  # B


class Windows:
    """Draws batches of windows.

    Args:
        corpora: the clips, with their labels and the crowd's votes. A clip of another one has no label.
        source: cuts the windows.
        teacher: the targets of one or more; None: labels only.
        softness: of the label targets.
        frames: the longest window.
        delay_s: how much later than the teacher the student outputs a frame.
        descriptors: of the clips; None: they are not trained on.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        source: WindowSource,
        teacher: TeacherTargets | None,
        softness: Softness,
        frames: int,
        delay_s: float,
        descriptors: DescriptorStore | None = None,
    ) -> None:
        self.source, self.teacher, self.frames, self.delay_s = source, teacher, frames, delay_s
        self.descriptors = descriptors
        self._softness, self._corpora = softness, len(corpora)
        self._clips = {clip.key: (corpus, clip) for corpus in corpora for clip in corpus.clips}

    def batch(self, keys: Sequence[str], rng: np.random.Generator) -> Batch:
        """Draw one window of each clip in `keys`; NON_SPEECH stands for a non-speech sound."""
        cuts = [self.source.cut(key, self.frames, rng) for key in keys]
        inputs, frames = self.source.collate([cut.rows for cut in cuts])
        labels = [self._label_target(key, cut) for key, cut in zip(keys, cuts, strict=True)]
        teacher = self._teacher_targets(cuts, frames)
        has_descriptors, descriptors = self._descriptors(keys, cuts, frames)
        return Batch(
            inputs=inputs,
            real=torch.arange(max(frames)) < torch.tensor(frames)[:, None],
            targets=torch.from_numpy(np.stack([target for target, _ in labels])),
            masks=torch.from_numpy(np.stack([mask for _, mask in labels])),
            teacher_frames=torch.from_numpy(teacher.frames),
            teacher_utterances=torch.from_numpy(teacher.utterances),
            teacher_logits=torch.from_numpy(teacher.logits),
            has_teacher=torch.tensor(teacher.present),
            descriptors=torch.from_numpy(descriptors),
            has_descriptors=torch.tensor(has_descriptors),
            follows=torch.zeros(len(keys), dtype=torch.bool),
        )

    def _label_target(self, key: str, cut: Cut) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
        """Return the label target `[8]` of one window, and the mask `[8]` of the labels it is over."""
        if key == NON_SPEECH:
            return no_emotion_target(), label_mask(LABELS)
        if key not in self._clips:
            return np.zeros(len(LABELS), dtype=np.float32), label_mask(LABELS)  # a target without mass: no loss
        corpus, clip = self._clips[key]
        soft_label = None if self.teacher is None else self.teacher.probabilities(corpus.name, cut.name)
        votes = corpus.votes.get(clip.path.stem)
        return label_target(clip.label, corpus.labels, votes, self._softness, soft_label), label_mask(corpus.labels)

    def _teacher_targets(self, cuts: Sequence[Cut], frames: Sequence[int]) -> _TeacherTargets:
        """Align the teacher's targets with windows of so many frames; zeros where there are none."""
        rows, teacher = len(cuts), self.teacher
        teachers = 1 if teacher is None else teacher.teachers
        width = teachers * COMPONENTS
        targets = _TeacherTargets(
            np.zeros((rows, max(frames), width), dtype=np.float32),
            np.zeros((rows, width), dtype=np.float32),
            np.zeros((rows, teachers * self._corpora, len(LABELS)), dtype=np.float32),
            [teacher is not None and cut.name in teacher for cut in cuts],
        )
        for row, cut in enumerate(cuts):
            if teacher is not None and targets.present[row]:
                of_clip = teacher.of_frames(cut.name)
                targets.frames[row, : frames[row]] = at_student_frames(
                    of_clip, frames[row], self.delay_s, cut.start_s, cut.pace
                )
                targets.utterances[row] = teacher.utterance(cut.name)
                targets.logits[row] = teacher.logits(cut.name)
        return targets

    def _descriptors(
        self, keys: Sequence[str], cuts: Sequence[Cut], frames: Sequence[int]
    ) -> tuple[list[bool], Float32Array]:
        """Return which rows have descriptors, and the descriptors `[B, F, 89]`."""
        values = np.zeros((len(keys), max(frames), DESCRIPTORS), dtype=np.float32)
        if self.descriptors is None:
            return [False] * len(keys), values
        present = [key in self.descriptors.frames for key in keys]
        for row, (key, cut) in enumerate(zip(keys, cuts, strict=True)):
            if present[row]:
                of_clip = self.descriptors.frames[key].astype(np.float32)
                values[row, : frames[row]] = at_student_frames(
                    of_clip, frames[row], 0.0, cut.start_s * cut.stretch, cut.pace * cut.stretch, FRAME_RATE
                )
        return present, values


class EpochBatches(Dataset[Batch]):
    """The batches of one epoch by number, for a DataLoader; each has a random generator of its own.

    Args:
        windows: draws them.
        keys: of all rows, batch after batch.
        batch_size: rows of a batch; a smaller rest is dropped, unless it is all there is.
        seed: numbers that identify the epoch.
        follows: which of the keys follow on from the row a batch before; None: none.
    """

    def __init__(
        self,
        windows: Windows,
        keys: Sequence[str],
        batch_size: int,
        seed: Sequence[int],
        follows: Sequence[bool] | None = None,
    ) -> None:
        self.windows, self.keys, self.batch_size, self.seed = windows, keys, batch_size, seed
        self._follows = [False] * len(keys) if follows is None else follows

    def __len__(self) -> int:
        return max(1, len(self.keys) // self.batch_size)

    def __getitem__(self, number: int) -> Batch:
        """Draw batch `number`: the same in every process, whatever was drawn before."""
        batch = self.windows.batch(self.keys_of(number), np.random.default_rng([*self.seed, number]))
        return replace(batch, follows=torch.tensor(self._follows[self._rows(number)], dtype=torch.bool))

    def keys_of(self, number: int) -> list[str]:
        """Return the keys of the rows of batch `number`."""
        return list(self.keys[self._rows(number)])

    def _rows(self, number: int) -> slice:
        return slice(number * self.batch_size, (number + 1) * self.batch_size)


def draw_epoch(clips: Sequence[Clip], non_speech_share: float, rng: np.random.Generator) -> list[str]:
    """Draw the keys of one epoch: as many as there are clips, and NON_SPEECH as a share of them besides.

    A corpus is drawn from in proportion to the root of its size, so that a large one does not dominate; within a corpus
    every clip comes once before any comes again.
    """
    of_corpus: dict[str, list[str]] = {}
    for clip in clips:
        of_corpus.setdefault(clip.corpus, []).append(clip.key)
    roots = {name: len(keys) ** 0.5 for name, keys in of_corpus.items()}
    drawn: list[str] = []
    for name, keys in of_corpus.items():
        left = round(len(clips) * roots[name] / sum(roots.values()))
        while left > 0:
            drawn += [keys[place] for place in rng.permutation(len(keys))[:left]]
            left -= len(keys)
    drawn += [NON_SPEECH] * round(non_speech_share * len(clips))
    return [drawn[place] for place in rng.permutation(len(drawn))]
