"""What the teacher says of every clip, computed once per work folder: at every frame, of the whole, and which emotion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamer.arrays import Float32Array
from streamer.audio.files import READER_VERSION
from streamer.corpora.array_store import RaggedStore, fingerprint, fingerprint_of_weights
from streamer.corpora.corpus import Clip
from streamer.corpora.speed_versions import SpeedVersions
from streamer.emotion.labels import LABELS
from streamer.progress import Progress
from streamer.training.teacher import LAYERS_ASKED, WIDTH, Projection, WhisperTeacher, slow

_FOLDS = 7  # at most; a fold holds whole speakers
_INVERSE_REGULARISATION = 0.005  # 1,536 features, some thousand clips


@dataclass(frozen=True)
class CrossFittedProbe:
    """A logistic regression that was fitted to all speakers of a corpus but some."""

    pipeline: Any  # of scikit-learn: scaling and regression
    corpus: str
    unknown: frozenset[str]  # speakers that it was not fitted to, as `corpus/speaker`

    def is_held_out(self, clip: Clip) -> bool:
        """Whether its opinion of the clip says something: one that knows the speaker would repeat the label."""
        return clip.corpus != self.corpus or clip.speaker_id in self.unknown

    def logits(self, features: Float32Array) -> Float32Array:
        """`[N, D]` to `[N, 8]`, minus infinity for labels that it does not know."""
        decisions = self.pipeline.decision_function(features)
        if decisions.ndim == 1:  # of two labels only the second one's
            decisions = np.stack([np.zeros_like(decisions), decisions], axis=1)
        logits = np.full((len(features), len(LABELS)), -np.inf, dtype=np.float32)
        logits[:, self.pipeline.classes_] = decisions
        return logits


def regression() -> Any:
    """scikit-learn's pipeline of scaling and a logistic regression, not fitted yet."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=_INVERSE_REGULARISATION, max_iter=500, random_state=0))


def fit_probes(features: Float32Array, clips: Sequence[Clip]) -> list[CrossFittedProbe]:
    """One for each fold of speakers; none where the corpus has one speaker.

    Args:
        features: `[N, D]` of the clips, all of one corpus.
        clips: N of them.
    """
    speakers = [clip.speaker_id for clip in clips]
    folds = min(_FOLDS, len(set(speakers)))
    if folds < 2:
        return []
    from sklearn.model_selection import GroupKFold

    labels = np.array([LABELS.index(clip.label) for clip in clips])
    listeners = []
    for known, unknown in GroupKFold(folds).split(features, labels, speakers):
        if len(set(labels[known])) < 2:
            continue
        listeners.append(
            CrossFittedProbe(
                regression().fit(features[known], labels[known]),
                clips[0].corpus,
                frozenset(speakers[row] for row in unknown),
            )
        )
    return listeners


COMPONENTS = 128  # of the teacher's features: as many as an embedding has channels
STATISTICS = 2 * LAYERS_ASKED * WIDTH  # mean and deviation of each feature over a clip
_PROJECTION_CLIPS = 600  # drawn to find the components


class TeacherStore:
    """The teacher's answers to clean voices: clips as they were recorded, and spoken faster or slower.

    At every frame and over the clip these are principal components of its layers. Which emotion it hears is what
    classifiers on its features say (see `listeners`), one for each corpus: of every clip, whatever corpus it is of.

    The files' names hold a digest of the teacher and of what it hears; those of the opinions, which know labels, also one
    of the clips that the classifiers are fitted to.

    Args:
        folder: where the files are.
        corpora: names of those whose classifiers are asked, in this order.
        teacher: who is asked.
        clips: that are learnt from.
        voices: what is heard of them.
    """

    def __init__(
        self,
        folder: Path,
        corpora: Sequence[str],
        teacher: WhisperTeacher,
        clips: Sequence[Clip],
        voices: SpeedVersions,
    ) -> None:
        heard = fingerprint(
            READER_VERSION, fingerprint_of_weights(teacher.state_dict().values()), teacher.chosen, voices.identity
        )
        fitted = fingerprint(heard, sorted((clip.key, clip.label, clip.speaker) for clip in clips))
        self.corpora = tuple(corpora)
        self._teacher, self._clips, self._voices = teacher, clips, voices
        self.frames = RaggedStore(folder / f"teacher-{heard}-frames", COMPONENTS)  # at 50 a second
        self._statistics = RaggedStore(folder / f"teacher-{heard}-statistics", STATISTICS, np.float32)  # one row a name
        self._opinions = {
            corpus: RaggedStore(folder / f"teacher-{fitted}-opinions-{corpus}", len(LABELS), np.float32)
            for corpus in corpora
        }  # one row a name: logits, centred; minus infinity where the corpus lacks the label
        self._projection_path = folder / f"teacher-{heard}-projection.npz"
        self._of_utterances: Projection | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._statistics

    def utterance(self, name: str) -> Float32Array:
        """`[128]` of a voice that was prepared: components of mean and deviation over its frames."""
        if self._of_utterances is None:
            self._of_utterances = self._stored()[1]
        components: Float32Array = self._of_utterances(np.asarray(self._statistics[name]))[0]
        return components

    def opinions(self, name: str) -> Float32Array:
        """`[C, 8]` what each corpus's classifier says: logits, 0 where there is no such label or classifier."""
        return np.stack([self._opinion(corpus, name) for corpus in self.corpora])

    def answer(self, corpus: str, name: str) -> Float32Array | None:
        """`[8]` probabilities in LABELS' order by the clip's own corpus; None where too few speakers were there to say."""
        if name not in self._opinions[corpus]:
            return None
        likely = np.exp(self._opinions[corpus][name][0])
        return np.asarray(likely / likely.sum())

    def prepare(self, seed: int, progress: Progress[str]) -> None:
        """Ask the teacher about what it was not asked yet. The first clips seen fix the components."""
        teacher, clips, voices = self._teacher, self._clips, self._voices
        names = {name: clip for clip in clips for name in voices.names(clip.key)}
        left = [name for name in names if name not in self._statistics]
        if left:
            of_frames = self._projections(seed, progress)[0]
            for name in progress(left, "asking the teacher"):
                features = teacher.features(voices.spoken(name))
                if name not in self.frames:  # a run may have been cut off between the two
                    self.frames.append(name, of_frames(slow(features)))
                self._statistics.append(name, statistics(features)[None])
        for corpus in self.corpora:
            self._ask(corpus, [clip for clip in clips if clip.corpus == corpus], names)

    def _ask(self, corpus: str, clips: Sequence[Clip], names: Mapping[str, Clip]) -> None:
        """What the classifiers of one corpus say of every name."""
        store = self._opinions[corpus]
        left = [name for name in names if name not in store]
        if not left:
            return
        features = np.concatenate([self._statistics[clip.key] for clip in clips])  # [N, 1536]
        listeners = fit_probes(features, clips)
        for name in left:
            if heard := [listener for listener in listeners if listener.is_held_out(names[name])]:
                store.append(name, _mean_opinion(heard, self._statistics[name]))

    def _opinion(self, corpus: str, name: str) -> Float32Array:
        store = self._opinions[corpus]
        if name not in store:
            return np.zeros(len(LABELS), dtype=np.float32)
        opinion = store[name][0]
        return np.where(np.isfinite(opinion), opinion, 0).astype(np.float32)

    def _projections(self, seed: int, progress: Progress[str]) -> tuple[Projection, Projection]:
        if not self._projection_path.is_file():
            teacher, clips, voices = self._teacher, self._clips, self._voices
            drawn = np.random.default_rng(seed).permutation(len(clips))[:_PROJECTION_CLIPS]
            heard = [
                teacher.features(voices.spoken(key)) for key in progress([clips[i].key for i in drawn], "components")
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


def _mean_opinion(listeners: Sequence[CrossFittedProbe], statistics: Float32Array) -> Float32Array:
    """`[1, 8]`: the mean of their logits, centred over the labels they know."""
    logits = np.mean([listener.logits(statistics) for listener in listeners], axis=0)
    known = np.isfinite(logits)
    return np.asarray(np.where(known, logits - logits[known].mean(), -np.inf), dtype=np.float32)


def statistics(features: Float32Array) -> Float32Array:
    """`[F, D]` to mean and standard deviation over frames, `[2D]`."""
    return np.concatenate([features.mean(axis=0), features.std(axis=0)])
