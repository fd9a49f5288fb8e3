"""Classifiers on the teacher's features of whole clips: which emotion it hears."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamer.training.corpora import LABELS, Clip
from streamer.training.splits import speaker_of

Floats = npt.NDArray[np.float32]
_FOLDS = 7  # at most; a fold holds whole speakers
_INVERSE_REGULARISATION = 0.005  # 1,536 features, some thousand clips


@dataclass(frozen=True)
class Listener:
    """A logistic regression that was fitted to all speakers of a corpus but some."""

    pipeline: Any  # of scikit-learn: scaling and regression
    corpus: str
    unknown: frozenset[str]  # speakers that it was not fitted to, as `corpus/speaker`

    def may_hear(self, clip: Clip) -> bool:
        """Whether its opinion of the clip says something: one that knows the speaker would repeat the label."""
        return clip.corpus != self.corpus or speaker_of(clip) in self.unknown

    def logits(self, features: Floats) -> Floats:
        """`[N, D]` to `[N, 8]`, minus infinity for labels that it does not know."""
        decisions = self.pipeline.decision_function(features)
        if decisions.ndim == 1:  # of two labels only the second one's
            decisions = np.stack([np.zeros_like(decisions), decisions], axis=1)
        logits = np.full((len(features), len(LABELS)), -np.inf, dtype=np.float32)
        logits[:, self.pipeline.classes_] = decisions
        return logits


def regression() -> Any:
    """scikit-learn's pipeline of scaling and a logistic regression, not fitted yet."""
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

    return make_pipeline(StandardScaler(), LogisticRegression(C=_INVERSE_REGULARISATION, max_iter=500, random_state=0))


def fit_listeners(features: Floats, clips: Sequence[Clip]) -> list[Listener]:
    """One for each fold of speakers; none where the corpus has one speaker.

    Args:
        features: `[N, D]` of the clips, all of one corpus.
        clips: N of them.
    """
    speakers = [speaker_of(clip) for clip in clips]
    folds = min(_FOLDS, len(set(speakers)))
    if folds < 2:
        return []
    from sklearn.model_selection import GroupKFold  # type: ignore[import-untyped]

    labels = np.array([LABELS.index(clip.label) for clip in clips])
    listeners = []
    for known, unknown in GroupKFold(folds).split(features, labels, speakers):
        if len(set(labels[known])) < 2:
            continue
        listeners.append(
            Listener(
                regression().fit(features[known], labels[known]),
                clips[0].corpus,
                frozenset(speakers[row] for row in unknown),
            )
        )
    return listeners
