"""What a training run leaves in its work folder, so that it can go on: recipe, split, and how far it is."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamer.corpora.array_store import fingerprint
from streamer.corpora.corpus import Corpus, clips_of
from streamer.corpora.splits import PARTS, Split
from streamer.errors import UsageError
from streamer.training.recipe import Recipe

_RECIPE, _SPLIT, _CORPORA = "recipe.json", "split.json", "corpora.json"
STATE = "state.pt"  # weights, optimisers and `RunState` after the last whole epoch
BEST = "best.pt"  # the best epoch's weights, before the classifier settles


@dataclass
class RunState:
    """How far training has come; what `state.pt` holds beside weights and optimiser."""

    epoch: int = 0  # finished ones
    best: float = -1.0  # mean of the corpora's UAR on validation speakers
    best_epoch: int = 0
    seconds: float = 0.0
    steps: int = 0


def resumed(corpora: Sequence[Corpus], work: Path) -> tuple[Recipe, Split]:
    """The recipe and the split of the run in `work`.

    Args:
        corpora: those of the run.
        work: its folder.

    Raises:
        UsageError: there is none, what it left is damaged, or it learnt from other corpora than these.
    """
    if not (work / _RECIPE).is_file():
        raise UsageError(f"There is no training to resume in {work}; leave --resume out.")
    try:
        recipe, split = Recipe.from_json((work / _RECIPE).read_text(encoding="utf-8")), Split.load(work / _SPLIT)
        learnt = json.loads((work / _CORPORA).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError, UsageError) as error:
        raise UsageError(f"The run in {work} is damaged or of another version; leave --resume out.") from error
    if learnt != _identity(corpora):
        raise UsageError(
            f"The run in {work} learnt from {', '.join(learnt['names'])} as they were then; "
            f"give the same corpora in the same order, or leave --resume out."
        )
    return recipe, split


def require_all_parts(corpora: Sequence[Corpus], split: Split) -> None:
    """See that each part has speakers of every corpus.

    Raises:
        UsageError: the split has nobody of a corpus in one of them.
    """
    for corpus in corpora:
        for part in PARTS:
            if not split.select(corpus.clips, part):
                raise UsageError(
                    f"The split's {part} part has no speaker of {corpus.name}; name some as {corpus.name}/SPEAKER in "
                    "--split, or start from a checkpoint that has heard fewer of them, as --start measured."
                )


def begin(corpora: Sequence[Corpus], recipe: Recipe, work: Path, split: Split) -> None:
    """Clear what an earlier run has left in `work` and store what a new one goes by."""
    for stale in (STATE, BEST, "log.txt"):
        (work / stale).unlink(missing_ok=True)
    split.save(work / _SPLIT)
    (work / _CORPORA).write_text(json.dumps(_identity(corpora)) + "\n", encoding="utf-8")
    (work / _RECIPE).write_text(recipe.to_json() + "\n", encoding="utf-8")


def _identity(corpora: Sequence[Corpus]) -> dict[str, object]:
    clips = [(clip.key, clip.label, clip.speaker) for clip in clips_of(corpora)]
    return {"names": [corpus.name for corpus in corpora], "clips": fingerprint(clips)}
