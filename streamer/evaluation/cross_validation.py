"""Speaker-independent evaluation protocols: holdout, k-fold and leave-one-speaker-out.

No protocol divides the clips of a speaker between training and test. Under `holdout`, the checkpoint's own classifier
predicts the test speakers of the split. Under `kfold` and `loso`, the encoder and the pooling stay frozen, and every
fold refits a light classifier on the speakers outside it: a class-balanced logistic regression on standardised pooled
vectors. Speakers that the checkpoint was trained or tuned on are only trained on, never tested, since an encoder embeds
speakers seen in training differently. A figure for all speakers of a corpus therefore takes several checkpoints (see
`split_speakers` and `fold_speakers`), each tested on the speakers it was not trained on.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamer.corpora.corpus import Clip, Corpus
from streamer.corpora.splits import Split, shuffled_speakers
from streamer.emotion.labels import LABELS
from streamer.evaluation.protocol import Protocol
from streamer.extras import require_sklearn

_C = 0.003  # strong regularisation, for 640 dimensions; best of 0.001, 0.003, 0.01 on CREMA-D's validation speakers
REFIT = f"logistic regression on standardised pooled vectors, classes balanced, C = {_C}"

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Folds:
    """Clips of one corpus, and the rows to train and test on in each fold."""

    clips: tuple[Clip, ...]
    parts: tuple[tuple[Rows, Rows], ...]  # (train, test)

    @property
    def targets(self) -> npt.NDArray[np.int64]:
        """Label columns `[N]` of the clips."""
        return np.array([LABELS.index(clip.label) for clip in self.clips], dtype=np.int64)

    @property
    def tested(self) -> Rows:
        """The rows that are tested, each once, sorted."""
        return np.sort(np.concatenate([np.array([], dtype=np.int64), *(test for _, test in self.parts)]))


def make_folds(corpus: Corpus, protocol: Protocol, split: Split, folds: int, known: Collection[str] = ()) -> Folds:
    """Return the folds of one corpus.

    Args:
        corpus: with at least two speakers.
        protocol: `holdout` is one fold: the split's training speakers against its test speakers.
        split: the parts for `holdout`, and the seed that assigns speakers under `kfold`.
        folds: number of folds under `kfold`, at most one per unknown speaker.
        known: speakers that the checkpoint was trained or tuned on, as `corpus/speaker`. Under `kfold` and `loso` every
            fold trains on them, and the unknown speakers are distributed over the folds.
    """
    if protocol == "holdout":
        train, test = split.select(corpus.clips, "train"), split.select(corpus.clips, "test")
        return Folds((*train, *test), ((np.arange(len(train)), np.arange(len(train), len(train) + len(test))),))
    unknown = [speaker for speaker in shuffled_speakers(corpus, split.seed) if speaker not in known]
    count = len(unknown) if protocol == "loso" else min(folds, len(unknown))
    fold_of = {speaker: place % count for place, speaker in enumerate(unknown)}
    of_clips = np.array([fold_of.get(clip.speaker_id, -1) for clip in corpus.clips])  # -1: in no fold's test
    parts = ((np.flatnonzero(of_clips != fold), np.flatnonzero(of_clips == fold)) for fold in range(count))
    return Folds(corpus.clips, tuple(parts))


def folds_per_checkpoint(
    corpus: Corpus, protocol: Protocol, split: Split, folds: int, known: Sequence[Collection[str]]
) -> list[Folds]:
    """Return the folds of one corpus for each checkpoint; the first that does not know a speaker tests that speaker.

    Arguments are those of `make_folds`; `known` holds the known speakers of each checkpoint. `holdout` allows only one.
    """
    tested: set[str] = set()
    per_checkpoint = []
    for own_known in known:
        own = make_folds(corpus, protocol, split, folds, tested.union(own_known))
        tested.update(own.clips[row].speaker_id for row in own.tested)
        per_checkpoint.append(own)
    return per_checkpoint


def merge_folds(per_checkpoint: Sequence[Folds]) -> Folds:
    """Merge the folds of several checkpoints over the same clips: for baselines, which need no encoder."""
    return Folds(per_checkpoint[0].clips, tuple(part for own in per_checkpoint for part in own.parts))


def refit_probabilities(vectors: npt.NDArray[np.float32], folds: Folds) -> npt.NDArray[np.float64]:
    """Refit the classifier in every fold and predict its test rows: probabilities `[N, 8]`, 0 in rows never tested.

    Args:
        vectors: `[N, 640]` the pooled vector of each of `folds.clips`.
        folds: see `make_folds`.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    require_sklearn()
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    targets = folds.targets
    probs = np.zeros((len(folds.clips), len(LABELS)))
    for train, test in folds.parts:
        light = LogisticRegression(C=_C, class_weight="balanced", max_iter=1000)
        fitted = make_pipeline(StandardScaler(), light).fit(vectors[train], targets[train])
        probs[np.ix_(test, fitted.classes_)] = fitted.predict_proba(vectors[test])
    return probs
