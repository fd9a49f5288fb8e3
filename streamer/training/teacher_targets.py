"""Cached teacher targets: frame features, utterance statistics and emotion logits (soft labels).

The soft labels of a clip come from cross-fitted logistic regressions on the teacher's features, one set for each
corpus: no regression was fitted to the clip's own speaker.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamer.arrays import Float32Array
from streamer.corpora.array_store import RaggedStore, fingerprint, fingerprint_of_weights
from streamer.corpora.corpus import Clip
from streamer.corpora.speed_versions import SpeedVersions
from streamer.emotion.labels import LABELS
from streamer.progress import Progress
from streamer.training.teacher import Projection, WhisperTeacher, slow
from streamer.training.threads import map_in_threads

COMPONENTS = 128  # of the teacher's features: as many as an embedding has channels
_PROJECTION_CLIPS = 600  # drawn to fit the projections
_AT_ONCE = 16  # versions of clips, shared among the processor's threads
_FOLDS = 7  # at most; a fold holds whole speakers
_INVERSE_REGULARISATION = 0.005  # for some thousand features and clips


@dataclass(frozen=True)
class CrossFittedProbe:
    """A logistic regression that was fitted to all speakers of a corpus but one fold."""

    pipeline: Any  # of scikit-learn: scaling and regression
    corpus: str
    held_out: frozenset[str]  # ids of the speakers of that fold

    def is_held_out(self, clip: Clip) -> bool:
        """Return whether the probe was not fitted to the clip's speaker: otherwise it would repeat the label."""
        return clip.corpus != self.corpus or clip.speaker_id in self.held_out

    def logits(self, features: Float32Array) -> Float32Array:
        """Return logits `[N, 8]` for features `[N, D]`, minus infinity for labels that the probe was not fitted to."""
        decisions = self.pipeline.decision_function(features)
        if decisions.ndim == 1:  # of two labels only the second one's
            decisions = np.stack([np.zeros_like(decisions), decisions], axis=1)
        logits = np.full((len(features), len(LABELS)), -np.inf, dtype=np.float32)
        logits[:, self.pipeline.classes_] = decisions
        return logits


def regression() -> Any:
    """Return an unfitted scikit-learn pipeline of scaling and logistic regression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=_INVERSE_REGULARISATION, max_iter=500, random_state=0))


def fit_probes(features: Float32Array, clips: Sequence[Clip]) -> list[CrossFittedProbe]:
    """Fit one probe for each fold of speakers; [] where the corpus has one speaker.

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
    probes = []
    for fitted, held_out in GroupKFold(folds).split(features, labels, speakers):
        if len(set(labels[fitted])) < 2:
            continue
        pipeline = regression().fit(features[fitted], labels[fitted])
        probes.append(CrossFittedProbe(pipeline, clips[0].corpus, frozenset(speakers[row] for row in held_out)))
    return probes


class TeacherStore:
    """The teacher's targets for clean speech: clips as recorded, and their speed versions.

    At every frame and over the clip these are principal components of its layers. The soft labels come from probes on
    its features (see `fit_probes`), one set for each corpus, applied to the clips of all corpora.

    The files' names hold a digest of the teacher and of its input; those of the soft labels, which depend on labels,
    also one of the clips that the probes are fitted to.

    Args:
        folder: where the files are.
        corpora: names of those that have probes, in this order.
        teacher: computes the features.
        clips: the training clips; those of other corpora need no labels.
        speeds: their speed versions.
    """

    def __init__(
        self,
        folder: Path,
        corpora: Sequence[str],
        teacher: WhisperTeacher,
        clips: Sequence[Clip],
        speeds: SpeedVersions,
    ) -> None:
        anatomy = teacher.anatomy
        inputs = fingerprint(fingerprint_of_weights(teacher.state_dict().values()), anatomy.chosen, speeds.identity)
        fitted = fingerprint(inputs, sorted((clip.key, clip.label, clip.speaker) for clip in clips))
        self.folder, self.corpora = folder, tuple(corpora)
        self._teacher, self._clips, self._speeds = teacher, clips, speeds
        self.frames = RaggedStore(folder / f"teacher-{inputs}-frames", COMPONENTS)  # at 50 a second
        self._statistics = RaggedStore(
            folder / f"teacher-{inputs}-statistics", 2 * anatomy.features, np.float32
        )  # one row a name: mean and deviation of each feature over the clip
        self._logits = {
            corpus: RaggedStore(folder / f"teacher-{fitted}-opinions-{corpus}", len(LABELS), np.float32)
            for corpus in corpora
        }  # one row a name: logits, centred; minus infinity where the corpus lacks the label
        self._projection_path = folder / f"teacher-{inputs}-projection.npz"
        self._of_utterances: Projection | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._statistics

    def of_frames(self, name: str) -> Float32Array:
        """Return the components `[F, 128]` at the teacher's frames of one speed version."""
        return np.asarray(self.frames[name], dtype=np.float32)

    def utterance(self, name: str) -> Float32Array:
        """Return the components `[128]` of the mean and deviation over the frames of one speed version."""
        if self._of_utterances is None:
            self._of_utterances = self._load_projections()[1]
        components: Float32Array = self._of_utterances(np.asarray(self._statistics[name]))[0]
        return components

    def logits(self, name: str) -> Float32Array:
        """Return the probes' logits `[C, 8]`, a row for each corpus; 0 where there is no such label or probe."""
        return np.stack([self._logits_of(corpus, name) for corpus in self.corpora])

    def probabilities(self, corpus: str, name: str) -> Float32Array | None:
        """Return the soft label `[8]` by the probes of `corpus`; None where it had too few speakers for probes."""
        if name not in self._logits[corpus]:
            return None
        exponentials = np.exp(self._logits[corpus][name][0])
        return np.asarray(exponentials / exponentials.sum())

    def prepare(self, seed: int, progress: Progress[int]) -> None:
        """Compute what the files lack. The clips of the first call fix the projections."""
        clips, speeds = self._clips, self._speeds
        names = {name: clip for clip in clips for name in speeds.names(clip.key)}
        left = [name for name in names if name not in self._statistics]
        if left:
            of_frames = self._projections(seed, progress)[0]
            for name, (slowed, over_clip) in self._features(left, "teacher targets", progress):
                if name not in self.frames:  # a run may have been cut off between the two
                    self.frames.append(name, of_frames(slowed))
                self._statistics.append(name, over_clip[None])
        for corpus in self.corpora:
            self._append_logits(corpus, [clip for clip in clips if clip.corpus == corpus], names)

    def _features(
        self, names: Sequence[str], title: str, progress: Progress[int]
    ) -> Iterator[tuple[str, tuple[Float32Array, Float32Array]]]:
        """Yield what the teacher says of each speed version: slowed features `[F, D]`, and their statistics `[2D]`."""
        for first in progress(range(0, len(names), _AT_ONCE), title):
            some = names[first : first + _AT_ONCE]
            yield from zip(some, map_in_threads(self._features_of, some), strict=True)

    def _features_of(self, name: str) -> tuple[Float32Array, Float32Array]:
        features = self._teacher.features(self._speeds.samples(name))
        counted = self._teacher.describes_sound(features)
        return slow(features, counted), statistics(features[counted])

    def _append_logits(self, corpus: str, clips: Sequence[Clip], names: Mapping[str, Clip]) -> None:
        """Fit the probes of one corpus to `clips`, and store their logits for every name."""
        store = self._logits[corpus]
        left = [name for name in names if name not in store]
        if not left:
            return
        features = np.concatenate([self._statistics[clip.key] for clip in clips])  # [N, D]
        probes = fit_probes(features, clips)
        for name in left:
            if allowed := [probe for probe in probes if probe.is_held_out(names[name])]:
                store.append(name, _mean_logits(allowed, self._statistics[name]))

    def _logits_of(self, corpus: str, name: str) -> Float32Array:
        store = self._logits[corpus]
        if name not in store:
            return np.zeros(len(LABELS), dtype=np.float32)
        logits = store[name][0]
        return np.where(np.isfinite(logits), logits, 0).astype(np.float32)

    def _projections(self, seed: int, progress: Progress[int]) -> tuple[Projection, Projection]:
        """Return the projections of frames and of utterance statistics; fit and store them if they are not."""
        if not self._projection_path.is_file():
            clips = self._clips
            drawn = np.random.default_rng(seed).permutation(len(clips))[:_PROJECTION_CLIPS]
            keys = [clips[i].key for i in drawn]
            slowed, of_clips = [], []
            for _, (slow_frames, over_clip) in self._features(keys, "teacher components", progress):
                slowed.append(slow_frames[::3])
                of_clips.append(over_clip)
            of_frames = Projection.fit(np.concatenate(slowed), COMPONENTS)
            of_utterances = Projection.fit(np.stack(of_clips), COMPONENTS)
            partial = self._projection_path.with_suffix(".part.npz")
            np.savez(partial, fm=of_frames.mean, fx=of_frames.matrix, um=of_utterances.mean, ux=of_utterances.matrix)
            partial.replace(self._projection_path)
        return self._load_projections()

    def _load_projections(self) -> tuple[Projection, Projection]:
        stored = np.load(self._projection_path)
        return Projection(stored["fm"], stored["fx"]), Projection(stored["um"], stored["ux"])


class TeacherTargets:
    """The targets of one or more teachers, side by side.

    Args:
        stores: of each teacher, all of the same clips and corpora; at least one.
    """

    def __init__(self, stores: Sequence[TeacherStore]) -> None:
        self._stores = tuple(stores)
        self.teachers = len(self._stores)

    def __contains__(self, name: str) -> bool:
        return all(name in store for store in self._stores)

    def of_frames(self, name: str) -> Float32Array:
        """Return the components `[F, teachers x 128]` at the teachers' frames of one speed version."""
        return np.concatenate([store.of_frames(name) for store in self._stores], axis=1)

    def utterance(self, name: str) -> Float32Array:
        """Return the components `[teachers x 128]` of the mean and deviation over the frames of one speed version."""
        return np.concatenate([store.utterance(name) for store in self._stores])

    def logits(self, name: str) -> Float32Array:
        """Return the probes' logits `[teachers x C, 8]`, a row for each corpus of each teacher."""
        return np.concatenate([store.logits(name) for store in self._stores])

    def probabilities(self, corpus: str, name: str) -> Float32Array | None:
        """Return the soft label `[8]` by the probes of `corpus`, the teachers' mean; None where there are no probes."""
        found = [store.probabilities(corpus, name) for store in self._stores]
        known = [probabilities for probabilities in found if probabilities is not None]
        return np.asarray(np.mean(known, axis=0), dtype=np.float32) if known else None


def statistics(features: Float32Array) -> Float32Array:
    """Return mean and standard deviation over the frames of `[F, D]`, as `[2D]`."""
    return np.concatenate([features.mean(axis=0), features.std(axis=0)])


def _mean_logits(probes: Sequence[CrossFittedProbe], statistics: Float32Array) -> Float32Array:
    """Return the mean logits `[1, 8]` of the probes, centred over the labels they were fitted to."""
    logits = np.mean([probe.logits(statistics) for probe in probes], axis=0)
    known = np.isfinite(logits)
    return np.asarray(np.where(known, logits - logits[known].mean(), -np.inf), dtype=np.float32)
