"""Windows as the classifier is given them: encoded once, pooled over several cuts of each, and kept in the work folder."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from streamer.audio.level import LEVEL_VERSION
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.pooling import POOLED_DIM
from streamer.rates import EMBEDDING_DIM, FRAME_RATE
from streamer.training.corpora import LABELS, Clip
from streamer.training.losses import Softness
from streamer.training.material import Progress
from streamer.training.predict import Inputs
from streamer.training.recipe import Recipe
from streamer.training.reference import differences
from streamer.training.splits import speaker_of
from streamer.training.store import RaggedStore, fingerprint, fingerprint_of_weights
from streamer.training.windows import NON_SPEECH, EpochBatches, Windows, draw_epoch

LONGEST_S = 4.0  # windows that are encoded; what is pooled is cut from them, from SHORTEST_S on
SHORTEST_S = 1.0
# What the classifier is told: what the actors meant. Listeners hear neutral where it was not meant, so with the crowd's
# votes it says that too often: 0.596 instead of 0.613 UAR on CREMA-D's validation speakers.
TOLD = Softness(votes=0.0, teacher=0.0)
DRAWS = 4  # of every clip, each in a version drawn anew
_CUTS = 4  # pooled of each
_ENCODED_AT_ONCE = 32


@dataclass(frozen=True)
class PooledWindows:
    """N windows as the classifier is given them."""

    vectors: Tensor  # [N, 640]
    voices: Tensor  # [N, 128] what a profile of the speaker takes away; zeros where none can be had
    targets: Tensor  # [N, 8] distributions over LABELS
    masks: Tensor  # [N, 8] bool: labels that the corpus has
    speakers: tuple[str, ...]  # N, as `corpus/speaker`; empty where nobody speaks
    kinds: tuple[tuple[str, str], ...]  # N, corpus and label; empty where nobody speaks

    def shares(self) -> npt.NDArray[np.float64]:
        """`[N]` how likely each is drawn: a corpus as often as it occurs, its labels all alike. They sum to 1."""
        of_kind = Counter(self.kinds)
        of_corpus, labels = Counter(corpus for corpus, _ in self.kinds), Counter(corpus for corpus, _ in of_kind)
        shares = np.array([of_corpus[kind[0]] / labels[kind[0]] / of_kind[kind] for kind in self.kinds])
        result: npt.NDArray[np.float64] = shares / shares.sum()
        return result

    def spoken(self) -> Tensor:
        """`[8] bool`: the labels of the corpora that anybody speaks in; sound without a voice has all of them."""
        rows = [row for row, who in enumerate(self.speakers) if who]
        return self.masks[rows].any(dim=0)

    def without(self, speaker: str) -> "PooledWindows":
        """All windows but one speaker's."""
        rows = [row for row, who in enumerate(self.speakers) if who != speaker]
        return PooledWindows(
            vectors=self.vectors[rows],
            voices=self.voices[rows],
            targets=self.targets[rows],
            masks=self.masks[rows],
            speakers=tuple(self.speakers[row] for row in rows),
            kinds=tuple(self.kinds[row] for row in rows),
        )


def pooled_store(
    folder: Path, model: EmotionDetectionModel, recipe: Recipe, clips: Sequence[Clip], talkers: Sequence[str]
) -> RaggedStore:
    """Where `pool_windows` keeps what it has encoded. An interrupted run goes on there.

    Its name holds a digest of encoder and pooling, of the recipe, of the clips and their labels, and of who talks behind them.
    """
    weights = fingerprint_of_weights(
        parameter for name, parameter in model.named_parameters() if not name.startswith("classifier.")
    )
    told = sorted((clip.key, clip.label, clip.speaker) for clip in clips)
    name = f"pooled-{fingerprint(weights, LEVEL_VERSION, recipe.to_json(), told, *talkers)}"
    return RaggedStore(folder / name, POOLED_DIM + 2 * len(LABELS), np.float32)


def pool_windows(
    model: EmotionDetectionModel,
    to_frames: Callable[[Tensor], Tensor],
    load: Callable[[Sequence[Clip]], Inputs],
    windows: Windows,
    clips: Sequence[Clip],
    non_speech: float,
    seed: int,
    store: RaggedStore,
    progress: Progress[int],
    draws: int = DRAWS,
    known: Collection[str] | None = None,
) -> PooledWindows:
    """Encode windows of LONGEST_S of all clips and pool several shorter ones of each.

    Args:
        model: its pooling is used; left in evaluation mode.
        to_frames: from what `windows` and `load` give to `[B, 128, F]`.
        load: reads whole clips, for the speakers' neutral voices.
        windows: draws them, up to LONGEST_S long.
        clips: to learn from.
        non_speech: windows of sound without a voice, as a share of the clips.
        seed: of all draws.
        store: of `pooled_store`; what is there is not encoded again.
        progress: shows how far it is.
        draws: how often each clip is encoded.
        known: whose neutral voices are the middle that others differ from, as `corpus/speaker`; everyone's if None.
    """
    device = next(model.parameters()).device
    rng = np.random.default_rng(seed)
    keys = [key for _ in range(draws) for key in draw_epoch(clips, non_speech, rng)]
    batches = EpochBatches(windows, keys, _ENCODED_AT_ONCE, [seed])
    model.eval()
    left = [number for number in range(len(batches)) if str(number) not in store]
    for number in progress(left, "windows for the classifier"):
        batch, draw = batches[number], np.random.default_rng([seed, number, 1])
        with torch.no_grad():
            frames = to_frames(batch.inputs.to(device))
            cuts = [model.pooling(frames, cut_anywhere(batch.real, draw).to(device))[0] for _ in range(_CUTS)]
        told = torch.cat([batch.targets, batch.masks.float()], dim=1).repeat(_CUTS, 1)
        store.append(str(number), torch.cat([torch.cat(cuts).float().cpu(), told], dim=1).numpy())
    stored = torch.from_numpy(np.concatenate([store[str(number)] for number in range(len(batches))])).to(device)
    widths = [POOLED_DIM, len(LABELS), len(LABELS)]
    vectors, targets, masks = torch.split(stored, widths, dim=1)
    by_key = {clip.key: clip for clip in clips}
    of_rows = [key for number in range(len(batches)) for key in batches.keys_of(number) * _CUTS]
    said_by = tuple(speaker_of(by_key[key]) if key != NON_SPEECH else "" for key in of_rows)
    own = differences(model, to_frames, load, clips, known)
    usual = np.zeros(EMBEDDING_DIM)
    return PooledWindows(
        vectors=vectors,
        voices=torch.from_numpy(np.stack([own.get(who, usual) for who in said_by])).float().to(device),
        targets=targets,
        masks=masks.bool(),
        speakers=said_by,
        kinds=tuple((by_key[key].corpus, by_key[key].label) if key != NON_SPEECH else ("", "") for key in of_rows),
    )


def cut_anywhere(real: Tensor, rng: np.random.Generator) -> Tensor:
    """`[B, F] bool`: of each row's `real [B, F]` frames, left-aligned, a stretch of SHORTEST_S to all of them."""
    counts = real.sum(dim=1).numpy()
    shortest = min(real.shape[1], round(SHORTEST_S * FRAME_RATE))
    lengths = np.minimum(counts, rng.integers(shortest, real.shape[1] + 1, len(counts)))
    firsts = rng.integers(counts - lengths + 1)
    places = np.arange(real.shape[1])
    return torch.from_numpy((places >= firsts[:, None]) & (places < (firsts + lengths)[:, None]))
