"""The work folder of a training run: recipe, split, corpora, log and state, written so that the run can resume.

`recipe.json`, `split.json` and `corpora.json` define the run; `log.txt` has a line for each epoch; `state.pt` and
`best.pt` hold weights. The cached audio, teacher targets and stems beside them serve later runs in the same folder too.
"""

import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from streamer.corpora.array_store import fingerprint
from streamer.corpora.corpus import Clip, Corpus, clips_of
from streamer.corpora.splits import Part, Split
from streamer.emotion import EmotionDetectionModel
from streamer.errors import UsageError
from streamer.training.learner import Learner
from streamer.training.recipe import Recipe

_RECIPE, _SPLIT, _CORPORA, _LOG = "recipe.json", "split.json", "corpora.json", "log.txt"
STATE = "state.pt"  # `Learner.state_dict` after the last completed epoch
BEST = "best.pt"  # weights of the best epoch, before the head is refitted


@dataclass(frozen=True)
class RunFolder:
    """One training run in its work folder."""

    path: Path
    corpora: tuple[Corpus, ...]
    recipe: Recipe
    split: Split
    unlabelled: tuple[Clip, ...] = ()  # speech to distil from alone, of nobody who is validated or tested

    @classmethod
    def create(
        cls, path: Path, corpora: Sequence[Corpus], recipe: Recipe, split: Split, unlabelled: Sequence[Clip] = ()
    ) -> Self:
        """Begin a new run: remove the state and the log of an earlier one in `path`, keep its caches."""
        path.mkdir(parents=True, exist_ok=True)
        for stale in (STATE, BEST, _LOG):
            (path / stale).unlink(missing_ok=True)
        split.save(path / _SPLIT)
        (path / _CORPORA).write_text(json.dumps(_identity(corpora, unlabelled)) + "\n", encoding="utf-8")
        (path / _RECIPE).write_text(recipe.to_json() + "\n", encoding="utf-8")
        return cls(path, tuple(corpora), recipe, split, tuple(unlabelled))

    @classmethod
    def load(cls, path: Path, corpora: Sequence[Corpus], unlabelled: Sequence[Clip] = ()) -> Self:
        """Open the run in `path` to resume it, with its own recipe and split.

        Raises:
            UsageError: there is no run, its files are damaged, or it was trained on other corpora.
        """
        if not (path / _RECIPE).is_file():
            raise UsageError(f"There is no training to resume in {path}; leave --resume out.")
        try:
            recipe = Recipe.from_json((path / _RECIPE).read_text(encoding="utf-8"))
            split = Split.load(path / _SPLIT)
            trained_on = json.loads((path / _CORPORA).read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError, UsageError) as error:
            raise UsageError(f"The run in {path} is damaged or of another version; leave --resume out.") from error
        if trained_on != _identity(corpora, unlabelled):
            raise UsageError(
                f"The run in {path} was trained on {', '.join(trained_on['names'])} with the clips of that time; "
                "give the same corpora in the same order, or leave --resume out."
            )
        return cls(path, tuple(corpora), recipe, split, tuple(unlabelled))

    def clips(self, part: Part) -> list[Clip]:
        """Return the clips of one part of the split, corpus by corpus."""
        return self.split.select(clips_of(self.corpora), part)

    def save(self, learner: Learner) -> None:
        """Write the state after a completed epoch; an interruption leaves the previous one."""
        partial = self.path / f"{STATE}.part"
        torch.save(learner.state_dict(), partial)
        partial.replace(self.path / STATE)

    def restore(self, learner: Learner, device: torch.device) -> None:
        """Load the saved state into `learner`, if an epoch was completed.

        Raises:
            UsageError: the file is damaged or of another model.
        """
        path = self.path / STATE
        if not path.is_file():
            return
        try:
            learner.load_state_dict(torch.load(path, map_location=device, weights_only=True))
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{path} is damaged or of another version; leave --resume out.") from error

    def save_best(self, model: EmotionDetectionModel) -> None:
        """Write the weights of the best epoch so far."""
        torch.save(model.state_dict(), self.path / BEST)

    def load_best(self, model: EmotionDetectionModel) -> None:
        """Load the weights of the best epoch into `model`."""
        device = next(model.parameters()).device
        model.load_state_dict(torch.load(self.path / BEST, map_location=device, weights_only=True))

    def log(self, line: str) -> None:
        """Append a line to `log.txt`."""
        with (self.path / _LOG).open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def _identity(corpora: Sequence[Corpus], unlabelled: Sequence[Clip]) -> dict[str, object]:
    """Identify a set of corpora by names, and by a digest of clips, labels and speakers."""
    clips = [(clip.key, clip.label, clip.speaker) for clip in clips_of(corpora)]
    identity: dict[str, object] = {"names": [corpus.name for corpus in corpora], "clips": fingerprint(clips)}
    if unlabelled:  # which earlier versions did not know
        identity["unlabelled"] = fingerprint([clip.key for clip in unlabelled])
    return identity
