"""Batches of windows to learn from: cut anywhere, of every corpus, with what the labels and the teacher say of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from streamer.arrays import Float32Array
from streamer.audio.front_end import normalize_batch
from streamer.constants import FRAME_RATE, FRAME_SAMPLES
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.augment import Augmentation, non_speech, speed
from streamer.corpora.corpus import Clip, Corpus
from streamer.emotion.labels import LABELS
from streamer.training.descriptors import DESCRIPTORS, DescriptorStore
from streamer.training.losses import Softness, label_mask, label_target, no_emotion_target
from streamer.training.stems import StemStore
from streamer.training.teacher import at_student_frames
from streamer.training.teacher_targets import COMPONENTS, TeacherStore

NON_SPEECH = ""  # the key of sound without a voice


@dataclass(frozen=True)
class Batch:
    """B windows of up to F frames; rows are left-aligned."""

    inputs: Tensor  # [B, F x 320] levelled audio, or [B, F, D] features below the layers that learn
    real: Tensor  # [B, F] bool: frames that a row has
    targets: Tensor  # [B, 8] distributions over LABELS
    masks: Tensor  # [B, 8] bool: labels that the corpus has
    teacher_frames: Tensor  # [B, F, K]
    teacher_utterances: Tensor  # [B, K]
    opinions: Tensor  # [B, C, 8] logits of the classifiers on the teacher's features, one for each corpus
    taught: Tensor  # [B] bool: rows that the teacher has heard
    descriptors: Tensor  # [B, F, 89]
    described: Tensor  # [B] bool: rows that have descriptors

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return Batch(**{name: tensor.to(device) for name, tensor in vars(self).items()})

    def reordered(self, order: Tensor) -> "Batch":
        """Row `order[n]` as row n."""
        return Batch(**{name: tensor[order] for name, tensor in vars(self).items()})


@dataclass(frozen=True)
class Cut:
    """One window of one clip."""

    rows: npt.NDArray[np.floating[Any]]  # [F x 320] audio before the level normaliser, or [F, D]
    name: str  # of the voice that the teacher has heard
    start_s: float  # where in that the window begins
    pace: float  # seconds of that in a second of the window
    stretch: float = 1.0  # seconds of the recording in a second of what the teacher has heard


class WindowSource(Protocol):
    """Where windows are cut from."""

    def cut(self, key: str, frames: int, rng: np.random.Generator) -> Cut:
        """A window of up to `frames` frames from anywhere in the clip, or of sound without a voice."""

    def collate(self, rows: Sequence[Float32Array]) -> tuple[Tensor, list[int]]:
        """Rows of several lengths to one tensor, and the frames of each."""


class AudioWindows:
    """Augmented anew at every draw, then levelled as a stream that begins with the window.

    Args:
        audio: the recordings.
        augmentation: what happens to a window on its way to the microphone.
        talkers: keys of the recordings that babble is made of.
        highpass_hz: of the model that is trained; None: it has no high-pass.
    """

    def __init__(
        self, audio: AudioStore, augmentation: Augmentation, talkers: Sequence[str], highpass_hz: float | None
    ) -> None:
        self.audio, self.augmentation, self._highpass_hz = audio, augmentation, highpass_hz
        self._voices = tuple(audio[key] for key in talkers)

    def cut(self, key: str, frames: int, rng: np.random.Generator) -> Cut:
        """See `WindowSource.cut`."""
        if key == NON_SPEECH:
            return Cut(non_speech(frames * FRAME_SAMPLES, rng), key, 0.0, 1.0)
        # The teacher hears the recording, not what is made of it here: it stays near.
        pace = float(rng.uniform(0.9, 1.1)) if rng.random() < self.augmentation.speed else 1.0
        wanted = min(int(frames * pace), self.audio.frames(key))
        first = int(rng.integers(self.audio.frames(key) - wanted + 1))
        window = self.audio[key][first * FRAME_SAMPLES : (first + wanted) * FRAME_SAMPLES]
        if pace != 1.0:
            window = speed(window, pace)
        return Cut(
            self.augmentation(window[: frames * FRAME_SAMPLES], rng, self._voices), key, first / FRAME_RATE, pace
        )

    def collate(self, rows: Sequence[Float32Array]) -> tuple[Tensor, list[int]]:
        """See `WindowSource.collate`: `[B, F x 320]`."""
        audio, frames = normalize_batch(rows, self._highpass_hz)
        return torch.from_numpy(audio), frames


class StemWindows:
    """From the stored versions of features below the layers that learn.

    Args:
        store: holds them; another run may have added to it.
        noises: how many of its sounds without a voice are drawn from.
    """

    def __init__(self, store: StemStore, noises: int) -> None:
        self.store = store
        self._non_speech = list(store.non_speech)[:noises]

    def cut(self, key: str, frames: int, rng: np.random.Generator) -> Cut:
        """See `WindowSource.cut`."""
        name, stretch = key, 1.0
        if key == NON_SPEECH:
            features = self.store.non_speech[self._non_speech[rng.integers(len(self._non_speech))]]
        else:
            version = int(rng.integers(len(self.store.versions)))
            features = self.store.versions[version][key]
            name, stretch = self.store.voices.name(key, version), self.store.voices.pace(key, version)
        first = int(rng.integers(max(1, len(features) - frames + 1)))
        return Cut(features[first : first + frames], name, first / FRAME_RATE, 1.0, stretch)

    def collate(self, rows: Sequence[Float32Array]) -> tuple[Tensor, list[int]]:
        """See `WindowSource.collate`: `[B, F, D]`."""
        padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(np.array(row)) for row in rows], batch_first=True)
        return padded, [len(row) for row in rows]


class Windows:
    """Draws batches.

    Args:
        corpora: with what their labels are, and the crowd's votes.
        inputs: where windows are cut from.
        teacher: its answers; None to learn from labels alone.
        softness: of the targets.
        frames: of a window, at most.
        delay_s: how much later than the teacher the student answers.
        descriptors: of the clips; None if they are not to be learnt.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        inputs: WindowSource,
        teacher: TeacherStore | None,
        softness: Softness,
        frames: int,
        delay_s: float,
        descriptors: DescriptorStore | None = None,
    ) -> None:
        self.inputs, self.teacher, self.frames, self.delay_s = inputs, teacher, frames, delay_s
        self.descriptors = descriptors
        self._softness, self._corpora = softness, len(corpora)
        self._clips = {clip.key: (corpus, clip) for corpus in corpora for clip in corpus.clips}

    def batch(self, keys: Sequence[str], rng: np.random.Generator) -> Batch:
        """One window of each clip in `keys`; NON_SPEECH stands for sound without a voice."""
        cuts = [self.inputs.cut(key, self.frames, rng) for key in keys]
        inputs, frames = self.inputs.collate([cut.rows for cut in cuts])
        most = max(frames)
        said = np.zeros((len(keys), most, COMPONENTS), dtype=np.float32)
        meant = np.zeros((len(keys), COMPONENTS), dtype=np.float32)
        opinions = np.zeros((len(keys), self._corpora, len(LABELS)), dtype=np.float32)
        taught = [self.teacher is not None and cut.name in self.teacher for cut in cuts]
        for row, cut in enumerate(cuts):
            if self.teacher is not None and taught[row]:
                heard = self.teacher.frames[cut.name].astype(np.float32)
                said[row, : frames[row]] = at_student_frames(heard, frames[row], self.delay_s, cut.start_s, cut.pace)
                meant[row] = self.teacher.utterance(cut.name)
                opinions[row] = self.teacher.opinions(cut.name)
        told = [self._told(key, cut) for key, cut in zip(keys, cuts, strict=True)]
        described, measured = self._measured(keys, cuts, frames)
        return Batch(
            inputs=inputs,
            real=torch.arange(most) < torch.tensor(frames)[:, None],
            targets=torch.from_numpy(np.stack([target for target, _ in told])),
            masks=torch.from_numpy(np.stack([mask for _, mask in told])),
            teacher_frames=torch.from_numpy(said),
            teacher_utterances=torch.from_numpy(meant),
            opinions=torch.from_numpy(opinions),
            taught=torch.tensor(taught),
            descriptors=torch.from_numpy(measured),
            described=torch.tensor(described),
        )

    def _told(self, key: str, cut: Cut) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
        """The target of one window, and the labels it is over."""
        if key == NON_SPEECH:
            return no_emotion_target(), label_mask(LABELS)
        corpus, clip = self._clips[key]
        answer = None if self.teacher is None else self.teacher.answer(corpus.name, cut.name)
        votes = corpus.votes.get(clip.path.stem)
        return label_target(clip.label, corpus.labels, votes, self._softness, answer), label_mask(corpus.labels)

    def _measured(
        self, keys: Sequence[str], cuts: Sequence[Cut], frames: Sequence[int]
    ) -> tuple[list[bool], Float32Array]:
        """Which rows have descriptors, and the descriptors `[B, F, 89]`."""
        measured = np.zeros((len(keys), max(frames), DESCRIPTORS), dtype=np.float32)
        if self.descriptors is None:
            return [False] * len(keys), measured
        described = [key in self.descriptors.frames for key in keys]
        for row, (key, cut) in enumerate(zip(keys, cuts, strict=True)):
            if described[row]:
                heard = self.descriptors.frames[key].astype(np.float32)
                measured[row, : frames[row]] = at_student_frames(
                    heard, frames[row], 0.0, cut.start_s * cut.stretch, cut.pace * cut.stretch, FRAME_RATE
                )
        return described, measured


class EpochBatches(Dataset[Batch]):
    """The batches of one epoch by their number, for a DataLoader: each draws from a generator of its own.

    Args:
        windows: what draws them.
        keys: of all batches, one after the other.
        batch_size: keys in a batch; what is left over at the end is dropped, unless it is all there is.
        seed: numbers that name the epoch.
    """

    def __init__(self, windows: Windows, keys: Sequence[str], batch_size: int, seed: Sequence[int]) -> None:
        self.windows, self.keys, self.batch_size, self.seed = windows, keys, batch_size, seed

    def __len__(self) -> int:
        return max(1, len(self.keys) // self.batch_size)

    def __getitem__(self, number: int) -> Batch:
        """Batch `number`, the same whoever asks for it."""
        return self.windows.batch(self.keys_of(number), np.random.default_rng([*self.seed, number]))

    def keys_of(self, number: int) -> list[str]:
        """Of the rows of batch `number`."""
        first = number * self.batch_size
        return list(self.keys[first : first + self.batch_size])


def draw_epoch(clips: Sequence[Clip], non_speech_share: float, rng: np.random.Generator) -> list[str]:
    """Keys for one epoch: as many as there are clips, and sound without a voice beside them.

    A corpus is drawn from in proportion to the root of its size, so that a large one does not drown the others; within
    a corpus every clip comes once before any comes again.
    """
    of_corpus: dict[str, list[str]] = {}
    for clip in clips:
        of_corpus.setdefault(clip.corpus, []).append(clip.key)
    shares: Mapping[str, float] = {name: len(keys) ** 0.5 for name, keys in of_corpus.items()}
    drawn: list[str] = []
    for name, keys in of_corpus.items():
        wanted = round(len(clips) * shares[name] / sum(shares.values()))
        left = wanted
        while left > 0:
            drawn += [keys[place] for place in rng.permutation(len(keys))[:left]]
            left -= len(keys)
    drawn += [NON_SPEECH] * round(non_speech_share * len(clips))
    return [drawn[place] for place in rng.permutation(len(drawn))]
