"""Pool windows of the training clips for the linear head, and cache them in the work folder."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from streamer.arrays import Float32Array
from streamer.audio.front_end import front_end_identity
from streamer.constants import EMBEDDING_DIM, FRAME_RATE, POOLED_DIM
from streamer.corpora.array_store import RaggedStore, fingerprint, fingerprint_of_weights
from streamer.corpora.corpus import Clip
from streamer.decoding.files import READER_VERSION
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.labels import LABELS
from streamer.progress import Progress
from streamer.training.batches import EpochBatches, Windows, draw_epoch
from streamer.training.head import PooledWindows
from streamer.training.losses import Softness
from streamer.training.neutral_mean import neutral_offsets
from streamer.training.predict import ClipEncoder
from streamer.training.recipe import Recipe
from streamer.training.windows import NON_SPEECH

LONGEST_S = 4.0  # windows that are encoded; what is pooled is cut from them, from SHORTEST_S on
SHORTEST_S = 1.0
# The head is fitted to the emotions that the actors intended. Listeners vote neutral where it was not intended, and
# with their votes in the targets the head predicts neutral too often: 0.596 instead of 0.613 UAR on CREMA-D's
# validation speakers.
HARD_TARGETS = Softness(votes=0.0, teacher=0.0)
DRAWS = 4  # of every clip, each augmented anew
_CUTS = 4  # pooled of each
_ENCODED_AT_ONCE = 32


@dataclass(frozen=True)
class PoolingPlan:
    """Which windows are drawn for the linear head."""

    seed: int  # of all draws
    non_speech: float  # windows of non-speech, as a share of the clips
    draws: int = DRAWS
    reference_speakers: Collection[str] | None = None  # ids of those whose balanced mean offsets count from; None: all


def pooled_store(
    folder: Path, model: EmotionDetectionModel, recipe: Recipe, clips: Sequence[Clip], babble: Sequence[str]
) -> RaggedStore:
    """Open the cache of `pool_windows`; an interrupted run goes on from it.

    Its name holds a digest of encoder and pooling, of the recipe, of the clips and their labels, and of the keys
    `babble` of the recordings that babble is mixed from.
    """
    weights = fingerprint_of_weights(
        parameter for name, parameter in model.named_parameters() if not name.startswith("classifier.")
    )
    labelled = sorted((clip.key, clip.label, clip.speaker) for clip in clips)
    front_end = front_end_identity(model.highpass_hz)
    name = f"pooled-{fingerprint(weights, *front_end, READER_VERSION, recipe.to_json(), labelled, *babble)}"
    return RaggedStore(folder / name, POOLED_DIM + 2 * len(LABELS), np.float32)


def pool_windows(
    encoder: ClipEncoder,
    windows: Windows,
    clips: Sequence[Clip],
    plan: PoolingPlan,
    store: RaggedStore,
    progress: Progress[int],
) -> PooledWindows:
    """Encode windows of LONGEST_S of all clips, and pool several shorter ones of each.

    Args:
        encoder: encodes what `windows` draws, and whole clips for the speakers' neutral embeddings.
        windows: draws windows of up to LONGEST_S.
        clips: the training clips.
        plan: which windows are drawn.
        store: of `pooled_store`; what it holds is not encoded again.
        progress: shows the progress of the loop.
    """
    device = next(encoder.model.parameters()).device
    rng = np.random.default_rng(plan.seed)
    keys = [key for _ in range(plan.draws) for key in draw_epoch(clips, plan.non_speech, rng)]
    batches = EpochBatches(windows, keys, _ENCODED_AT_ONCE, [plan.seed])
    encoder.model.eval()
    left = [number for number in range(len(batches)) if str(number) not in store]
    for number in progress(left, "windows for the linear head"):
        store.append(str(number), _pool_batch(encoder, batches, number, plan.seed))
    stored = torch.from_numpy(np.concatenate([store[str(number)] for number in range(len(batches))])).to(device)
    vectors, targets, masks = torch.split(stored, [POOLED_DIM, len(LABELS), len(LABELS)], dim=1)
    by_key = {clip.key: clip for clip in clips}
    row_keys = [key for number in range(len(batches)) for key in batches.keys_of(number) * _CUTS]
    row_clips = [None if key == NON_SPEECH else by_key[key] for key in row_keys]
    offsets, none = neutral_offsets(encoder, clips, plan.reference_speakers), np.zeros(EMBEDDING_DIM)
    speakers = tuple("" if clip is None else clip.speaker_id for clip in row_clips)
    of_rows = np.stack([offsets.get(speaker, none) for speaker in speakers])  # [N, 128]
    return PooledWindows(
        vectors=vectors,
        neutral_offsets=torch.from_numpy(of_rows).float().to(device),
        targets=targets,
        masks=masks.bool(),
        speakers=speakers,
        kinds=tuple(("", "") if clip is None else (clip.corpus, clip.label) for clip in row_clips),
    )


def _pool_batch(encoder: ClipEncoder, batches: EpochBatches, number: int, seed: int) -> Float32Array:
    """Return rows `[B x _CUTS, 640 + 8 + 8]` of batch `number`: pooled vectors, targets and masks."""
    batch, draw = batches[number], np.random.default_rng([seed, number, 1])
    device = next(encoder.model.parameters()).device
    with torch.no_grad():
        frames = encoder.encode(batch.inputs.to(device))  # [B, 128, F]
        cuts = [encoder.model.pooling(frames, random_cuts(batch.real, draw).to(device))[0] for _ in range(_CUTS)]
    labels = torch.cat([batch.targets, batch.masks.float()], dim=1).repeat(_CUTS, 1)
    rows: Float32Array = torch.cat([torch.cat(cuts).float().cpu(), labels], dim=1).numpy()
    return rows


def random_cuts(real: Tensor, rng: np.random.Generator) -> Tensor:
    """Cut a stretch of SHORTEST_S or more from each row's `real [B, F]` frames, left-aligned: `[B, F] bool`."""
    counts = real.sum(dim=1).numpy()
    shortest = min(real.shape[1], round(SHORTEST_S * FRAME_RATE))
    lengths = np.minimum(counts, rng.integers(shortest, real.shape[1] + 1, len(counts)))
    firsts = rng.integers(counts - lengths + 1)
    places = np.arange(real.shape[1])
    return torch.from_numpy((places >= firsts[:, None]) & (places < (firsts + lengths)[:, None]))
