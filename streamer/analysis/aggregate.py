"""Pool a sequence of frames to one vector, offline or incrementally for recordings too long to hold in memory.

Every method but the maximum is a mean weighted by the softmax over frames of some score, so one running sum serves them
all: a new highest score scales down the sum so far.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from streamer.analysis.settings import METHODS
from streamer.constants import EMBEDDING_DIM
from streamer.emotion.pooling import VARIANCE_FLOOR, AttentionPooling


def global_embeddings(
    embeddings: Tensor,
    method: str = "mean",
    frame_counts: Tensor | None = None,
    pooling: AttentionPooling | None = None,
) -> Tensor:
    """Pool the frames of each recording to one vector.

    Args:
        embeddings: `[B, 128, F]`, F >= 1.
        method: `mean`; `max`; `attention`, weights by the softmax over frames of the mean over channels; `learned`, the
            attentive mean and standard deviation by a checkpoint's own attention.
        frame_counts: `[B] int64`, the number of valid frames in each row, each at least 1 (all, if None).
        pooling: for `learned`: `EmotionDetectionModel.pooling`; that of the bundled checkpoint, if None.

    Returns:
        `[B, 128]`; `[B, 256]` for `learned`.

    Raises:
        ValueError: the shape is wrong, a row has no frame, or the method is unknown.
    """
    valid = _valid_frames(embeddings, frame_counts)  # [B, F]
    if method == "mean":
        return _mean(embeddings, valid)
    if method == "max":
        return embeddings.masked_fill(~valid[:, None], float("-inf")).amax(dim=2)
    if method == "attention":
        scores = embeddings.mean(dim=1).masked_fill(~valid, float("-inf"))  # [B, F]
        weights = torch.softmax(scores, dim=1)
        return (embeddings.masked_fill(~valid[:, None], 0) * weights[:, None]).sum(dim=2)
    if method == "learned":
        learned = bundled_pooling().to(embeddings) if pooling is None else pooling
        pooled: Tensor = learned(embeddings, valid)[0]
        return pooled[:, : 2 * EMBEDDING_DIM]  # mean and deviation, without the movement
    raise ValueError(f"The method must be mean, max, attention or learned; got {method!r}.")


def multi_scale_embeddings(embeddings: Tensor, frame_counts: Tensor | None = None) -> Tensor:
    """Concatenate mean, maximum and standard deviation over the frames of each recording.

    Args:
        embeddings: `[B, 128, F]`, F >= 1.
        frame_counts: `[B] int64`, the number of valid frames in each row (all, if None).

    Returns:
        `[B, 384]`: 3 x 128. The standard deviation is the population's (divided by F), 0 for a single frame.

    Raises:
        ValueError: the shape is wrong or a row has no frame.
    """
    valid = _valid_frames(embeddings, frame_counts)
    mean = _mean(embeddings, valid)
    variance = _mean((embeddings - mean[:, :, None]).square(), valid)
    return torch.cat([mean, global_embeddings(embeddings, "max", frame_counts), variance.sqrt()], dim=1)


def bundled_pooling() -> AttentionPooling:
    """Return the pooling of the bundled checkpoint."""
    from streamer.emotion.model import EmotionDetectionModel

    return EmotionDetectionModel.from_checkpoint("bundled").pooling.requires_grad_(False)


@dataclass
class RunningPool:
    """Pools the frames of one recording incrementally; equal to the offline functions up to rounding.

    Sums are kept in float64: an hour has 270,000 frames. Deviations are merged by Chan, Golub and LeVeque, "Updating
    Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.
    """

    method: str
    pooling: AttentionPooling | None = None  # for `learned`
    _top: Tensor = field(default_factory=lambda: torch.tensor(float("-inf"), dtype=torch.float64))  # highest score
    _weight: Tensor = field(
        default_factory=lambda: torch.zeros((), dtype=torch.float64)
    )  # sum of all, relative to `_top`
    _mean: Tensor = field(default_factory=lambda: torch.zeros(EMBEDDING_DIM, dtype=torch.float64))
    _squares: Tensor = field(default_factory=lambda: torch.zeros(EMBEDDING_DIM, dtype=torch.float64))  # about the mean
    _max: Tensor = field(default_factory=lambda: torch.full((EMBEDDING_DIM,), float("-inf"), dtype=torch.float64))

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"The method must be one of {', '.join(METHODS)}; got {self.method!r}.")
        if self.method == "learned" and self.pooling is None:
            raise ValueError("The method learned needs the pooling of a checkpoint.")

    @torch.inference_mode()
    def update(self, frames: Tensor) -> None:
        """Add the next `frames: [128, F]`, F >= 0."""
        if frames.shape[1] == 0:
            return
        scores = self._scores(frames).cpu().double()  # [F]; not every GPU has float64
        frames = frames.cpu().double()
        top = torch.maximum(self._top, scores.max())
        weights = (scores - top).exp()  # [F]
        weight = weights.sum()
        mean = (frames * weights).sum(dim=1) / weight  # [128]
        squares = ((frames - mean[:, None]).square() * weights).sum(dim=1)
        before = self._weight * (self._top - top).exp()
        total = before + weight
        shift = mean - self._mean
        self._squares = self._squares * (self._top - top).exp() + squares + shift.square() * before * weight / total
        self._mean = self._mean + shift * weight / total
        self._top, self._weight = top, total
        self._max = torch.maximum(self._max, frames.amax(dim=1))

    def result(self) -> Tensor:
        """Return the pooled vector: `[128]`, `[256]` for `learned`, `[384]` for `multi`, float32 on the CPU.

        Raises:
            ValueError: there was no frame.
        """
        if self._weight == 0:
            raise ValueError("There is no frame to pool.")
        variance = self._squares / self._weight
        match self.method:
            case "max":
                pooled = self._max
            case "learned":
                pooled = torch.cat([self._mean, (variance + VARIANCE_FLOOR).sqrt()])
            case "multi":
                pooled = torch.cat([self._mean, self._max, variance.sqrt()])
            case _:
                pooled = self._mean
        return pooled.float()

    def _scores(self, frames: Tensor) -> Tensor:
        """Return the score of each frame of `[128, F]`, `[F]`."""
        if self.method == "attention":
            return frames.mean(dim=0)
        if self.method == "learned" and self.pooling is not None:
            return self.pooling.scores(frames[None])[0]
        return torch.zeros_like(frames[0])


def _valid_frames(embeddings: Tensor, frame_counts: Tensor | None) -> Tensor:
    """Return which frames are valid, `[B, F] bool`. Raises ValueError for wrong shapes or counts."""
    if embeddings.dim() != 3 or embeddings.shape[1] != EMBEDDING_DIM or embeddings.shape[2] == 0:
        raise ValueError(
            f"Embeddings must be [B, {EMBEDDING_DIM}, F] with at least one frame; got {list(embeddings.shape)}."
        )
    batch, _, frames = embeddings.shape
    if frame_counts is None:
        return torch.ones(batch, frames, dtype=torch.bool, device=embeddings.device)
    if frame_counts.shape != (batch,) or int(frame_counts.min()) < 1 or int(frame_counts.max()) > frames:
        raise ValueError(f"frame_counts must be [{batch}], each from 1 to {frames}; got {frame_counts.tolist()}.")
    return torch.arange(frames, device=embeddings.device) < frame_counts.to(embeddings.device)[:, None]


def _mean(embeddings: Tensor, valid: Tensor) -> Tensor:
    """Average `[B, 128, F]` over the valid frames `[B, F]`, to `[B, 128]`."""
    return embeddings.masked_fill(~valid[:, None], 0).sum(dim=2) / valid.sum(dim=1, keepdim=True)
