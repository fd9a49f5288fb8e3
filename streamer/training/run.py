"""What a training run leaves in its work folder, so that it can go on: recipe, split, and how far it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamer.errors import UsageError
from streamer.training.corpora import Corpus, clips_of
from streamer.training.recipe import Recipe
from streamer.training.splits import PARTS, Split, split_speakers


@dataclass
class RunState:
    """How far training has come; what `state.pt` holds beside weights and optimiser."""

    epoch: int = 0  # finished ones
    best: float = -1.0  # mean of the corpora's UAR on validation speakers
    best_epoch: int = 0
    seconds: float = 0.0
    steps: int = 0


def begin(
    corpora: Sequence[Corpus], recipe: Recipe, work: Path, resume: bool, split: Split | None = None
) -> tuple[Recipe, Split]:
    """The recipe and the split to train with: stored ones when resuming, else new ones, stored.

    Args:
        corpora: what to learn from.
        recipe: how, for a new run.
        work: the folder, which exists.
        resume: go on where a run in this folder stopped.
        split: for a new run; None draws it from the recipe's seed.

    Raises:
        UsageError: there is nothing to resume, a corpus is too small to split, or the split leaves a part empty.
    """
    recipe_path, split_path = work / "recipe.json", work / "split.json"
    if resume:
        if not recipe_path.is_file():
            raise UsageError(f"There is no training to resume in {work}; leave --resume out.")
        try:
            return Recipe.from_json(recipe_path.read_text(encoding="utf-8")), Split.load(split_path)
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(f"{recipe_path} is damaged or of another version; leave --resume out.") from error
    chosen = split_speakers(corpora, recipe.seed) if split is None else split
    clips = clips_of(corpora)
    for part in PARTS:
        if not chosen.select(clips, part):
            raise UsageError(f"The split's {part} part has no speaker of these corpora; name them as corpus/speaker.")
    for stale in ("state.pt", "best.pt", "log.txt"):
        (work / stale).unlink(missing_ok=True)
    chosen.save(split_path)
    recipe_path.write_text(recipe.to_json() + "\n", encoding="utf-8")
    return recipe, chosen
