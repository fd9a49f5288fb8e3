"""Order an epoch's windows so that every row of the batches is a stream: speech of one speaker after another.

A live stream never begins anew: the LSTM has heard minutes before each window, and outputs something else than for the
same window at rest. With an encoder that was trained on windows at rest alone, a head for clips names windows of joined
clips of six CREMA-D speakers with a UAR of 0.43, and the same windows, encoded at rest, with 0.50.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from streamer.corpora.corpus import Clip
from streamer.training.windows import NON_SPEECH

_TURN = 12  # clips of a speaker in a row
_RUN = 3  # of them with the same label, at most


def as_streams(
    keys: Sequence[str], clips: Sequence[Clip], rows: int, restarts: float, rng: np.random.Generator
) -> tuple[list[str], list[bool]]:
    """Order the keys of an epoch, batch after batch, and tell which follow on from the same row a batch before.

    Args:
        keys: of the windows, those of non-speech included: they may come between any two others.
        clips: that the keys are of.
        rows: of a batch.
        restarts: share of windows that follow on from nothing, besides those at the begin of a speaker's turn.
        rng: draws the order.

    Returns:
        As many keys as fill whole batches, at least one (of all keys, where they are fewer than its rows); and for each
        whether it follows on.
    """
    rows = min(rows, len(keys))
    turns = _turns(keys, {clip.key: clip for clip in clips}, rng)
    ordered = [turns[place] for place in rng.permutation(len(turns))]
    column = list(chain.from_iterable(ordered))
    begins = set(np.cumsum([0, *map(len, ordered)]).tolist())
    batches = len(column) // rows
    places = [row * batches + number for number in range(batches) for row in range(rows)]
    goes_on = (rng.random(len(places)) >= restarts).tolist()
    follows = [
        drawn and place % batches > 0 and place not in begins for place, drawn in zip(places, goes_on, strict=True)
    ]
    return [column[place] for place in places], follows


def _turns(keys: Sequence[str], clips: dict[str, Clip], rng: np.random.Generator) -> list[list[str]]:
    """Group keys by speaker, in turns of up to _TURN and non-speech among them."""
    by_speaker: dict[str, list[str]] = {}
    for key in keys:
        if key != NON_SPEECH:
            by_speaker.setdefault(clips[key].speaker_id, []).append(key)
    turns = []
    for own in by_speaker.values():
        runs = _runs(own, clips, rng)
        column = list(chain.from_iterable(runs[place] for place in rng.permutation(len(runs))))
        turns += [column[first : first + _TURN] for first in range(0, len(column), _TURN)]
    sounds = [NON_SPEECH] * (len(keys) - sum(map(len, turns)))
    if not turns:
        return [sounds]
    for turn in rng.integers(len(turns), size=len(sounds)).tolist():
        turns[turn].insert(int(rng.integers(1, len(turns[turn]) + 1)), NON_SPEECH)
    return turns


def _runs(keys: Sequence[str], clips: dict[str, Clip], rng: np.random.Generator) -> list[list[str]]:
    """Group a speaker's keys into runs of one to _RUN with the same label: people stay in an emotion for a while."""
    by_label: dict[str, list[str]] = {}
    for place in rng.permutation(len(keys)).tolist():
        by_label.setdefault(clips[keys[place]].label, []).append(keys[place])
    runs = []
    for own in by_label.values():
        while own:
            length = int(rng.integers(1, _RUN + 1))
            runs.append(own[:length])
            own = own[length:]
    return runs
