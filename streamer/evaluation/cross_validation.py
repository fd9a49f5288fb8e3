"""Who is measured by whom: holdout, k folds, or one speaker left out at a time. Speakers are never divided.

Under `holdout` the checkpoint's own classifier answers for the test speakers of the split. Under `kfold` and `loso` the
encoder and the pooling stay what they are, and a light classifier is fitted anew in every fold on the speakers outside
it: a balanced logistic regression on standardised pooled vectors. Whom the checkpoint was trained or tuned on is learnt
from and never answered for, since an encoder says other things of voices that it knows; a figure for all speakers of a
corpus takes several checkpoints (see `split_speakers` and `fold_speakers`), each answering for those it has not heard.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from streamer.corpora.corpus import Clip, Corpus
from streamer.corpora.splits import Split, shuffled_speakers
from streamer.emotion.labels import LABELS
from streamer.extras import require_sklearn

Protocol = Literal["holdout", "kfold", "loso"]
_C = 0.003  # strong, for 640 dimensions; the best of 0.001, 0.003 and 0.01 on validation speakers of CREMA-D
REFIT = f"logistic regression on standardised pooled vectors, labels balanced, C = {_C}"

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Folds:
    """Clips of one corpus, and for each fold the rows to learn from and those to answer for."""

    clips: tuple[Clip, ...]
    parts: tuple[tuple[Rows, Rows], ...]  # (train, test)

    @property
    def answers(self) -> npt.NDArray[np.int64]:
        """`[N]` the right columns."""
        return np.array([LABELS.index(clip.label) for clip in self.clips], dtype=np.int64)

    @property
    def tested(self) -> Rows:
        """The rows that are answered for, each once, sorted."""
        return np.sort(np.concatenate([np.array([], dtype=np.int64), *(test for _, test in self.parts)]))


def folds_of(corpus: Corpus, protocol: Protocol, split: Split, folds: int, heard: Collection[str] = ()) -> Folds:
    """The folds of one corpus.

    Args:
        corpus: with at least two speakers.
        protocol: `holdout` is one fold: the split's training speakers against its test speakers.
        split: for `holdout`, and the seed that deals speakers to `kfold`.
        folds: how many under `kfold`; a corpus with fewer strangers has one for each.
        heard: whom the checkpoint knows, as `corpus/speaker`. Under `kfold` and `loso` every fold learns from them, and
            the others, the strangers, are dealt to the folds.
    """
    if protocol == "holdout":
        train, test = split.select(corpus.clips, "train"), split.select(corpus.clips, "test")
        return Folds((*train, *test), ((np.arange(len(train)), np.arange(len(train), len(train) + len(test))),))
    strangers = [speaker for speaker in shuffled_speakers(corpus, split.seed) if speaker not in heard]
    count = len(strangers) if protocol == "loso" else min(folds, len(strangers))
    fold_of = {speaker: place % count for place, speaker in enumerate(strangers)}
    of_clips = np.array([fold_of.get(clip.speaker_id, -1) for clip in corpus.clips])  # -1: in no fold's test
    parts = ((np.flatnonzero(of_clips != fold), np.flatnonzero(of_clips == fold)) for fold in range(count))
    return Folds(corpus.clips, tuple(parts))


def folds_of_each(
    corpus: Corpus, protocol: Protocol, split: Split, folds: int, heard: Sequence[Collection[str]]
) -> list[Folds]:
    """The folds of one corpus for each of several checkpoints: a stranger to several is answered for by the first of them.

    Arguments are those of `folds_of`, and `heard` is whom each checkpoint knows. `holdout` is for one.
    """
    answered: set[str] = set()
    of_each = []
    for known in heard:
        own = folds_of(corpus, protocol, split, folds, answered.union(known))
        answered.update(own.clips[row].speaker_id for row in own.tested)
        of_each.append(own)
    return of_each


def joined(of_each: Sequence[Folds]) -> Folds:
    """The folds of several checkpoints over the same clips as if they were one's: for peers, who need no encoder."""
    return Folds(of_each[0].clips, tuple(part for own in of_each for part in own.parts))


def refit_probabilities(vectors: npt.NDArray[np.float32], folds: Folds) -> npt.NDArray[np.float64]:
    """`[N, 8]` probabilities of the classifier that was fitted on the other speakers; 0 in rows of no fold's test.

    Args:
        vectors: `[N, 640]`, one for each of `folds.clips`.
        folds: see `folds_of`.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    require_sklearn()
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

    answers = folds.answers
    probs = np.zeros((len(folds.clips), len(LABELS)))
    for train, test in folds.parts:
        light = LogisticRegression(C=_C, class_weight="balanced", max_iter=1000)
        fitted = make_pipeline(StandardScaler(), light).fit(vectors[train], answers[train])
        probs[np.ix_(test, fitted.classes_)] = fitted.predict_proba(vectors[test])
    return probs
