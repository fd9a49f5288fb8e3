"""What the teacher says of every clip, computed once per work folder: at every frame, of the whole, and which emotion."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from streamer.training.corpora import LABELS, Clip
from streamer.training.material import AudioStore, Progress, key_of
from streamer.training.splits import speaker_of
from streamer.training.store import RaggedStore
from streamer.training.teacher import LAYERS_ASKED, WIDTH, Projection, WhisperTeacher, slow

Floats = npt.NDArray[np.float32]

COMPONENTS = 128  # of the teacher's features: as many as an embedding has channels
_STATISTICS = 2 * LAYERS_ASKED * WIDTH  # mean and deviation of each feature over a clip
_PROJECTION_CLIPS = 600  # drawn to find the components
_FOLDS = 7  # at most; a fold holds whole speakers
_INVERSE_REGULARISATION = 0.005  # 1,536 features, some thousand clips


class TeacherStore:
    """The teacher's answers to clean clips.

    At every frame and over the clip these are principal components of its layers. Which emotion it hears is what a
    logistic regression says, fitted to its features of other speakers' clips: an answer that knows the speaker would
    repeat the label.
    """

    def __init__(self, folder: Path) -> None:
        self.frames = RaggedStore(folder / "teacher-frames", COMPONENTS)  # at 50 a second
        self._statistics = RaggedStore(folder / "teacher-statistics", _STATISTICS, np.float32)  # one row a clip
        self._answers = RaggedStore(folder / "teacher-answers", len(LABELS), np.float32)  # one row a clip
        self._projection_path = folder / "teacher-projection.npz"
        self._of_utterances: Projection | None = None

    def __contains__(self, key: str) -> bool:
        return key in self._statistics

    def utterance(self, key: str) -> Floats:
        """`[128]` of a clip that was prepared: components of mean and deviation over its frames."""
        if self._of_utterances is None:
            self._of_utterances = self._stored()[1]
        components: Floats = self._of_utterances(np.asarray(self._statistics[key]))[0]
        return components

    def answer(self, key: str) -> Floats | None:
        """`[8]` probabilities in LABELS' order; None where too few speakers were there to say."""
        return np.asarray(self._answers[key][0]) if key in self._answers else None

    def prepare(
        self, teacher: WhisperTeacher, clips: Sequence[Clip], audio: AudioStore, seed: int, progress: Progress[Clip]
    ) -> None:
        """Ask the teacher about what it was not asked yet. The first clips seen fix the components."""
        left = [clip for clip in clips if key_of(clip) not in self._statistics]
        if left:
            of_frames = self._projections(teacher, clips, audio, seed, progress)[0]
            for clip in progress(left, "asking the teacher"):
                features = teacher.features(audio[key_of(clip)])
                if key_of(clip) not in self.frames:  # a run may have been cut off between the two
                    self.frames.append(key_of(clip), of_frames(slow(features)))
                self._statistics.append(key_of(clip), statistics(features)[None])
        for corpus in dict.fromkeys(clip.corpus for clip in clips):
            self._answer([clip for clip in clips if clip.corpus == corpus])

    def _answer(self, clips: Sequence[Clip]) -> None:
        """Of one corpus; nothing where every clip has its answer already."""
        speakers = [speaker_of(clip) for clip in clips]
        folds = min(_FOLDS, len(set(speakers)))
        if folds < 2 or all(key_of(clip) in self._answers for clip in clips):
            return
        from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
        from sklearn.model_selection import GroupKFold  # type: ignore[import-untyped]
        from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
        from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

        features = np.concatenate([self._statistics[key_of(clip)] for clip in clips])  # [N, 1536]
        labels = np.array([LABELS.index(clip.label) for clip in clips])
        for known, asked in GroupKFold(folds).split(features, labels, speakers):
            if len(set(labels[known])) < 2:
                continue
            model = make_pipeline(
                StandardScaler(), LogisticRegression(C=_INVERSE_REGULARISATION, max_iter=500, random_state=0)
            ).fit(features[known], labels[known])
            answers = np.zeros((len(asked), len(LABELS)), dtype=np.float32)
            answers[:, model.classes_] = model.predict_proba(features[asked])
            for row, answer in zip(asked, answers, strict=True):
                if key_of(clips[row]) not in self._answers:
                    self._answers.append(key_of(clips[row]), answer[None])

    def _projections(
        self, teacher: WhisperTeacher, clips: Sequence[Clip], audio: AudioStore, seed: int, progress: Progress[Clip]
    ) -> tuple[Projection, Projection]:
        if not self._projection_path.is_file():
            drawn = np.random.default_rng(seed).permutation(len(clips))[:_PROJECTION_CLIPS]
            heard = [
                teacher.features(audio[key_of(clip)]) for clip in progress([clips[i] for i in drawn], "components")
            ]
            of_frames = Projection.fit(np.concatenate([slow(features)[::3] for features in heard]), COMPONENTS)
            of_utterances = Projection.fit(np.stack([statistics(features) for features in heard]), COMPONENTS)
            partial = self._projection_path.with_suffix(".part.npz")
            np.savez(partial, fm=of_frames.mean, fx=of_frames.matrix, um=of_utterances.mean, ux=of_utterances.matrix)
            partial.replace(self._projection_path)
        return self._stored()

    def _stored(self) -> tuple[Projection, Projection]:
        stored = np.load(self._projection_path)
        return Projection(stored["fm"], stored["fx"]), Projection(stored["um"], stored["ux"])


def statistics(features: Floats) -> Floats:
    """`[F, D]` to mean and standard deviation over frames, `[2D]`."""
    return np.concatenate([features.mean(axis=0), features.std(axis=0)])
