"""The last part of a training: the classifier learns anew from what the finished encoder and its attention say.

While the encoder moves, the classifier follows it, through dropped and mixed values. On the finished one it learns in a
minute what it did not in hours, since each window is pooled once and nothing else is computed.

It also learns what voice profiles do (`streamer.emotion.profile_offset`): a share of the windows has its speaker's own neutral
voice taken out, the others come as they are, so one classifier serves calibrated streams and all others.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from streamer.audio.files import READER_VERSION
from streamer.audio.front_end import front_end_identity
from streamer.constants import EMBEDDING_DIM, FRAME_RATE
from streamer.corpora.array_store import RaggedStore, fingerprint, fingerprint_of_weights
from streamer.corpora.corpus import Clip
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.labels import LABELS
from streamer.emotion.model import Classifier
from streamer.emotion.pooling import POOLED_DIM
from streamer.emotion.profile_offset import subtract_offsets
from streamer.progress import Progress
from streamer.training.batches import NON_SPEECH, EpochBatches, Windows, draw_epoch
from streamer.training.losses import Softness, masked_cross_entropy
from streamer.training.neutral_mean import neutral_offsets
from streamer.training.optim import cosine_with_warmup
from streamer.training.predict import ClipEncoder
from streamer.training.recipe import Recipe

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
    front_end = front_end_identity(model.highpass_hz)
    name = f"pooled-{fingerprint(weights, *front_end, READER_VERSION, recipe.to_json(), told, *talkers)}"
    return RaggedStore(folder / name, POOLED_DIM + 2 * len(LABELS), np.float32)


@dataclass(frozen=True)
class PoolingPlan:
    """Which windows are drawn for a linear head."""

    seed: int  # of all draws
    non_speech: float  # windows of non-speech, as a share of the clips
    draws: int = DRAWS  # of every clip, each in a version drawn anew
    reference_speakers: Collection[str] | None = None  # ids of those whose balanced mean offsets count from; None: all


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
    model, seed = encoder.model, plan.seed
    device = next(model.parameters()).device
    rng = np.random.default_rng(seed)
    keys = [key for _ in range(plan.draws) for key in draw_epoch(clips, plan.non_speech, rng)]
    batches = EpochBatches(windows, keys, _ENCODED_AT_ONCE, [seed])
    model.eval()
    left = [number for number in range(len(batches)) if str(number) not in store]
    for number in progress(left, "windows for the classifier"):
        batch, draw = batches[number], np.random.default_rng([seed, number, 1])
        with torch.no_grad():
            frames = encoder.encode(batch.inputs.to(device))
            cuts = [model.pooling(frames, cut_anywhere(batch.real, draw).to(device))[0] for _ in range(_CUTS)]
        told = torch.cat([batch.targets, batch.masks.float()], dim=1).repeat(_CUTS, 1)
        store.append(str(number), torch.cat([torch.cat(cuts).float().cpu(), told], dim=1).numpy())
    stored = torch.from_numpy(np.concatenate([store[str(number)] for number in range(len(batches))])).to(device)
    widths = [POOLED_DIM, len(LABELS), len(LABELS)]
    vectors, targets, masks = torch.split(stored, widths, dim=1)
    by_key = {clip.key: clip for clip in clips}
    of_rows = [key for number in range(len(batches)) for key in batches.keys_of(number) * _CUTS]
    said_by = tuple(by_key[key].speaker_id if key != NON_SPEECH else "" for key in of_rows)
    own = neutral_offsets(encoder, clips, plan.reference_speakers)
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


_BATCH = 256
_RATE, _WEIGHT_DECAY = 1e-3, 1.0  # the bias decays too
_DROPPED = 0.6  # share of the pooled values that are left out at each step
_NEVER = -30.0  # logit of a label that nobody has spoken: below one in a billion at any temperature up to 1.4
_LEAST_SPREAD = 1e-3  # of a pooled value over all windows
_WARM_UP_STEPS = 50
_CALIBRATED = 0.5  # share of windows without their speaker's neutral voice


def fit_head(model: EmotionDetectionModel, windows: PooledWindows, steps: int, seed: int) -> None:
    """Give the model a classifier that learnt from the windows in so many steps; the rest stays as it is.

    It learns from standardised values, of which some are left out at every step (Srivastava et al. 2014); in the end it
    takes the standardising in. A label that no corpus has is never said.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    device = windows.vectors.device
    shares = windows.shares()
    spread, mean = torch.std_mean(windows.vectors, dim=0)  # [640]
    spread = spread.clamp(min=_LEAST_SPREAD)
    classifier = Classifier(windows.targets.shape[1]).to(device)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=_RATE, weight_decay=_WEIGHT_DECAY)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * cosine_with_warmup(step, _WARM_UP_STEPS, step / steps, 0.0)
        rows = torch.from_numpy(rng.choice(len(shares), _BATCH, p=shares)).to(device)
        calibrated = torch.from_numpy(rng.random(_BATCH) < _CALIBRATED).to(device)
        pooled = subtract_offsets(windows.vectors[rows], calibrated[:, None] * windows.voices[rows])
        logits = classifier(F.dropout((pooled - mean) / spread, _DROPPED))
        loss = masked_cross_entropy(logits, windows.targets[rows], windows.masks[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    _take_in(mean, spread, classifier)
    unspoken = ~windows.spoken()
    with torch.no_grad():
        classifier.weight[unspoken] = 0
        classifier.bias[unspoken] = _NEVER
    model.classifier.load_state_dict(classifier.state_dict())


def _take_in(mean: Tensor, spread: Tensor, classifier: Classifier) -> None:
    """Make a classifier of standardised values `[B, 640]` one of the values as they are."""
    with torch.no_grad():
        classifier.weight.div_(spread)
        classifier.bias.sub_(classifier.weight @ mean)
