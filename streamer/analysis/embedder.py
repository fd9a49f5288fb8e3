"""From samples to the rows that are kept: level, encoder, quantiser, pooling."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from streamer.analysis.aggregate import METHODS, RunningPool
from streamer.analysis.embedding_model import EmbeddingModel
from streamer.arrays import Samples
from streamer.audio.level import LevelNormalizer
from streamer.codec import StreamingEncoder
from streamer.codec.quantizer import DEFAULT_BANDWIDTH
from streamer.errors import UsageError

Kind = Literal["encoder", "quantized", "codes"]
Rows = npt.NDArray[np.float32] | npt.NDArray[np.int16]

# Recordings that are encoded at once, by device. Four at a time are a quarter faster than one on a CPU, and more do not
# fit its caches any better; a GPU wants many.
BATCH_SIZES = {"cpu": 4, "mps": 16, "cuda": 32}
ROWS_VERSION = 1  # of what this module computes; another number makes caches start anew


@dataclass(frozen=True, slots=True)
class EmbedSettings:
    """What is computed from each recording. Raises UsageError where the parts do not fit together."""

    kind: Kind = "encoder"
    pool: str | None = "mean"  # one of pooled.METHODS; None keeps every frame
    bandwidth: float | None = None  # kbit/s, for quantized and codes only
    level: bool = False  # whether the level normaliser comes first

    def __post_init__(self) -> None:
        if self.pool is not None and self.pool not in METHODS:
            raise UsageError(f"--pool must be one of {', '.join(METHODS)}, not {self.pool}.")
        if self.kind == "codes" and self.pool is not None:
            raise UsageError("Codes are names, not numbers, and cannot be pooled; use --frames, or --kind quantized.")
        if self.kind == "encoder" and self.bandwidth is not None:
            raise UsageError("--bandwidth is for --kind quantized or codes; the encoder's embeddings have none.")

    @property
    def kbps(self) -> float:
        """The bandwidth, or the usual one."""
        return DEFAULT_BANDWIDTH if self.bandwidth is None else self.bandwidth


class Embedder:
    """Turns recordings into rows: one of `[1, D]` each where they are pooled, else `[F, 128]`, or `[F, K]` for codes.

    Attributes:
        batch_size: how many recordings are encoded at once.
        key: tells what is computed, and with which weights.

    Raises:
        UsageError: the model lacks what the settings ask for.
    """

    def __init__(self, model: EmbeddingModel, settings: EmbedSettings, device: str = "cpu") -> None:
        if settings.kind != "encoder" and model.quantizer is None:
            raise UsageError(
                f"{model.title} has no codebooks, so that there is nothing --kind {settings.kind} could use; "
                "add --model pretrained for EnCodec's own weights."
            )
        if settings.pool == "learned" and model.pooling is None:
            raise UsageError(f"{model.title} has no learned pooling; use --model bundled, or another --pool.")
        if model.quantizer is not None and settings.kind != "encoder":
            try:
                model.quantizer.codebook_count(settings.kbps)
            except ValueError as error:
                raise UsageError(str(error)) from error
        self.settings = settings
        self.device = torch.device(device)
        self.batch_size = BATCH_SIZES.get(self.device.type, 1)
        self.encoder = model.encoder.to(self.device).eval()
        self.quantizer = None if model.quantizer is None else model.quantizer.to(self.device)
        self.pooling = None if model.pooling is None else model.pooling.to(self.device).eval()
        known = {"version": ROWS_VERSION, "model": model.sha256, **asdict(settings)}
        self.key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]

    def whole(self, recordings: Sequence[Samples]) -> list[Rows]:
        """The rows of up to `batch_size` whole recordings, `[T] float32` each; similar lengths make it fast.

        They run as one batch as far as the shortest goes, and the rest of each by itself: EnCodec mirrors the end of a
        recording, so padding one would change its last frames.
        """
        levelled = [torch.from_numpy(self._level(recording)) for recording in recordings]
        shortest = min(len(samples) for samples in levelled)
        stream = self._batch
        stream.reset()
        audio = torch.zeros(self.batch_size, 1, shortest)
        audio[: len(levelled), 0] = torch.stack([samples[:shortest] for samples in levelled])
        everyone = torch.arange(self.batch_size) < len(levelled)
        steps = [(stream.step(audio, everyone), stream.frame_counts)]
        for place, samples in enumerate(levelled):
            audio = torch.zeros(self.batch_size, 1, len(samples) - shortest)
            audio[place, 0] = samples[shortest:]
            steps.append((stream.step(audio, torch.arange(self.batch_size) == place), stream.frame_counts))
        steps.append((stream.flush(everyone), stream.frame_counts))
        return [
            np.concatenate(list(self._rows(frames[place, :, : counts[place]] for frames, counts in steps)))
            for place in range(len(levelled))
        ]

    def streamed(self, blocks: Iterable[Samples]) -> Iterator[Rows]:
        """The rows of one recording that comes in blocks, piece by piece; memory does not grow with its length."""
        return self._rows(self._frames(blocks))

    @cached_property
    def _batch(self) -> StreamingEncoder:
        return StreamingEncoder(self.encoder, self.batch_size)

    @cached_property
    def _single(self) -> StreamingEncoder:
        return StreamingEncoder(self.encoder)

    def _level(self, samples: Samples) -> Samples:
        return LevelNormalizer().step(samples[None])[0] if self.settings.level else samples

    def _frames(self, blocks: Iterable[Samples]) -> Iterator[Tensor]:
        """`[128, F]` piece by piece."""
        stream = self._single
        stream.reset()
        level = LevelNormalizer() if self.settings.level else None
        for block in blocks:
            samples = block if level is None else level.step(block[None])[0]
            yield stream.step(torch.from_numpy(samples)[None, None])[0]
        yield stream.flush()[0]

    @torch.inference_mode()
    def _rows(self, pieces: Iterable[Tensor]) -> Iterator[Rows]:
        """Frames `[128, F]` piece by piece to what is kept of them."""
        pool = None if self.settings.pool is None else RunningPool(self.settings.pool, self.pooling)
        for frames in pieces:
            kept = self._quantized(frames)  # [D, F]
            if pool is None:
                yield kept.T.cpu().numpy()
            else:
                pool.update(kept)
        if pool is not None:
            yield pool.result()[None].numpy()

    def _quantized(self, frames: Tensor) -> Tensor:
        """`[128, F]` to themselves, to what the quantiser keeps of them, or to codes `[K, F] int16`."""
        if self.settings.kind == "encoder" or self.quantizer is None:
            return frames
        codes = self.quantizer.encode(frames[None], self.settings.kbps)  # [1, K, F]
        return codes[0].to(torch.int16) if self.settings.kind == "codes" else self.quantizer.decode(codes)[0]
