"""Speaker-independent splits into training, validation and test: whole speakers, never single clips.

A speaker's part depends on the seed, the corpus and its list of speakers alone, so that every command and every recipe
splits alike. Speakers are identified by `Clip.speaker_id`, `corpus/speaker`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

from streamer.corpora.corpus import Clip, Corpus, clips_of
from streamer.emotion.card import CheckpointCard, Speakers
from streamer.emotion.checkpoint import BUNDLED, MEASURED, load_checkpoint
from streamer.errors import UsageError

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
DEFAULT_SEED = 20261122
VALIDATION_SHARE, TEST_SHARE = 0.1, 0.2  # of a corpus's speakers, each at least one


@dataclass(frozen=True, slots=True)
class Split:
    """The ids of the speakers in each part."""

    seed: int
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def select(self, clips: Iterable[Clip], part: Part) -> list[Clip]:
        """Return the clips of one part, in their order."""
        speakers = frozenset(getattr(self, part))
        return [clip for clip in clips if clip.speaker_id in speakers]

    def together(self) -> "Split":
        """Return the split with all speakers in the training part."""
        return Split(self.seed, tuple(sorted((*self.train, *self.validation, *self.test))), (), ())

    def save(self, path: Path) -> None:
        """Write the split as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            UsageError: the file does not exist, is no split, or has a speaker in two parts.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            split = cls(values["seed"], *(tuple(map(str, values[part])) for part in PARTS))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{path} holds no split of speakers; give JSON with a seed and lists of corpus/speaker for "
                "train, validation and test."
            ) from error
        counts = Counter(speaker for part in PARTS for speaker in set(getattr(split, part)))
        if twice := [speaker for speaker, count in counts.items() if count > 1]:
            raise UsageError(f"{path} has {twice[0]} in two parts; a speaker belongs to one.")
        return split


def read_split(path: Path) -> Split:
    """Read a split from JSON, or from the card of a checkpoint (`.safetensors`, or the name of a shipped one).

    Raises:
        UsageError: see `Split.load`; or the checkpoint's card names no speakers.
        CheckpointError: it cannot be read.
    """
    if path.suffix != ".safetensors" and str(path) not in (BUNDLED, MEASURED):
        return Split.load(path)
    known = speakers_known_to(load_checkpoint(path).card, path)
    return Split(DEFAULT_SEED, *(tuple(getattr(known, part)) for part in PARTS))


def split_speakers(corpora: Sequence[Corpus], seed: int = DEFAULT_SEED) -> Split:
    """Draw a holdout split: 20 % of each corpus's speakers test, 10 % validate (at least one each), the rest train.

    Raises:
        UsageError: a corpus has fewer than three speakers.
    """
    parts: dict[Part, list[str]] = {part: [] for part in PARTS}
    for corpus in corpora:
        speakers = shuffled_speakers(corpus, seed)
        if len(speakers) < len(PARTS):
            raise UsageError(
                f"{corpus.name} has {len(speakers)} speaker(s); training, validation and test need one each; "
                "add speakers, or join it with another corpus in one CSV file."
            )
        test = max(1, round(TEST_SHARE * len(speakers)))
        validation = max(1, round(VALIDATION_SHARE * len(speakers)))
        parts["test"] += speakers[:test]
        parts["validation"] += speakers[test : test + validation]
        parts["train"] += speakers[test + validation :]
    return Split(seed, *(tuple(sorted(parts[part])) for part in PARTS))


def fold_speakers(corpora: Sequence[Corpus], fold: int, folds: int, seed: int = DEFAULT_SEED) -> Split:
    """Return one fold of a cross-validation over speakers: every speaker is tested in exactly one fold.

    Fold 1 equals `split_speakers`. The remaining folds partition the speakers that fold 1 does not test. Validation
    speakers are kept across folds where possible, and replaced where a fold tests them all.

    Args:
        corpora: the speakers.
        fold: number of the fold, from 1.
        folds: number of folds, 3 or more: with two, fold 2 would train on the test speakers of fold 1 alone.
        seed: of the split.

    Raises:
        UsageError: there is no such fold, or a corpus has too few speakers for so many.
    """
    if not 1 <= fold <= folds or folds < 3:
        raise UsageError(f"There is no fold {fold} of {folds}; use --fold 1 to K of --folds K, 3 or more.")
    first = split_speakers(corpora, seed)
    if fold == 1:
        return first
    parts: dict[Part, list[str]] = {part: [] for part in PARTS}
    for corpus in corpora:
        speakers = shuffled_speakers(corpus, seed)
        left = [speaker for speaker in speakers if speaker not in first.test]  # those that validate come first
        tested = left[fold - 2 :: folds - 1]
        if not tested:
            raise UsageError(f"{corpus.name} has {len(speakers)} speakers, too few for {folds} folds; use fewer.")
        rest = [speaker for speaker in left if speaker not in tested]
        validating = [speaker for speaker in rest if speaker in first.validation] or rest[:1]
        parts["test"] += tested
        parts["validation"] += validating
        parts["train"] += [speaker for speaker in speakers if speaker not in (*tested, *validating)]
    return Split(seed, *(tuple(sorted(parts[part])) for part in PARTS))


def pin_known_speakers(drawn: Split, known: Speakers | None, strangers: Part) -> Split:
    """Pin speakers that the checkpoint was trained, tuned or tested on to their original part, to prevent leakage.

    Args:
        drawn: a split by `split_speakers`.
        known: the checkpoint's own parts; None if it has none.
        strangers: the part of its corpora's other speakers.
    """
    if known is None:
        return drawn
    pinned = {speaker: part for part in PARTS for speaker in getattr(known, part)}
    corpora = {speaker.partition("/")[0] for speaker in pinned}
    parts: dict[Part, list[str]] = {part: [] for part in PARTS}
    for part in PARTS:
        for speaker in getattr(drawn, part):
            other = strangers if speaker.partition("/")[0] in corpora else part
            parts[pinned.get(speaker, other)].append(speaker)
    return Split(drawn.seed, *(tuple(sorted(parts[part])) for part in PARTS))


def speakers_known_to(card: CheckpointCard | None, checkpoint: str | Path) -> Speakers:
    """Return the parts that a checkpoint's speakers had.

    Raises:
        UsageError: its card names no speakers.
    """
    if card is None or card.speakers is None:
        raise UsageError(
            f"The card of {checkpoint} does not list its training speakers; "
            "give a checkpoint that `streamer train` wrote, or measured."
        )
    return card.speakers


def known_speakers(known: Speakers | None) -> frozenset[str]:
    """Return the ids of the speakers that a checkpoint was trained or tuned on, as far as its card lists them."""
    return frozenset() if known is None else frozenset((*known.train, *known.validation))


def check_no_leakage(split: Split, known: Speakers | None, name: str) -> None:
    """Check that the checkpoint `name` was not trained or tuned on any of the split's test speakers.

    Raises:
        UsageError: it was.
    """
    if both := sorted(known_speakers(known) & set(split.test)):
        raise UsageError(
            f"{both[0]} is a test speaker of the split, and {name} was trained or tuned on this speaker "
            f"({len(both)} in all); leave --split out, or use a checkpoint that was not."
        )


def require_all_parts(corpora: Sequence[Corpus], split: Split) -> None:
    """Check that each part of the split has speakers of every corpus.

    Raises:
        UsageError: a part has none of a corpus.
    """
    for corpus in corpora:
        for part in PARTS:
            if not split.select(corpus.clips, part):
                raise UsageError(
                    f"The split's {part} part has no speaker of {corpus.name}; name some as {corpus.name}/SPEAKER in "
                    "--split, or start from a checkpoint trained on fewer of them, as --start measured."
                )


def shuffled_speakers(corpus: Corpus, seed: int) -> list[str]:
    """Return the ids of a corpus's speakers in an order that depends on seed and names, not on numpy's version."""

    def key(speaker: str) -> str:
        return hashlib.sha256(f"{seed}/{corpus.name}/{speaker}".encode()).hexdigest()

    return [f"{corpus.name}/{speaker}" for speaker in sorted(corpus.speakers, key=key)]


def describe_split(split: Split, corpora: Iterable[Corpus]) -> str:
    """Return a line for each part: its number of speakers and clips, and the speakers' ids."""
    clips = clips_of(corpora)
    lines = [f"split, seed {split.seed}:"]
    for part in PARTS:
        speakers = getattr(split, part)
        lines.append(
            f"  {part}: {len(speakers)} speakers, {len(split.select(clips, part))} clips: {' '.join(speakers)}"
        )
    return "\n".join(lines)
