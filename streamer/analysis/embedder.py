"""Compute the rows of recordings from their samples: front end, encoder, quantiser, pooling."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from streamer.analysis.aggregate import RunningPool
from streamer.analysis.embedding_model import EmbeddingModel
from streamer.analysis.settings import EmbedSettings
from streamer.arrays import Float32Array, Samples
from streamer.audio.front_end import FrontEnd
from streamer.codec import StreamingEncoder
from streamer.codec.quantizer import DEFAULT_BANDWIDTH
from streamer.decoding.files import READER_VERSION
from streamer.errors import UsageError

Rows = Float32Array | npt.NDArray[np.int16]

# Recordings that are encoded at once, by device. On a CPU four at a time are a quarter faster than one, and more do not
# fit its caches any better; a GPU needs many.
BATCH_SIZES = {"cpu": 4, "mps": 16, "cuda": 32}
ROWS_VERSION = 1  # of what this module computes; a new number invalidates existing caches


class Embedder:
    """Computes the rows of recordings: one row `[1, D]` where they are pooled, else `[F, 128]`, or `[F, K]` for codes.

    Attributes:
        batch_size: number of recordings that are encoded at once.
        key: digest of the settings and the weights; names the cache.

    Raises:
        UsageError: the model lacks what the settings require.
    """

    def __init__(self, model: EmbeddingModel, settings: EmbedSettings, device: str = "cpu") -> None:
        if settings.kind != "encoder" and model.quantizer is None:
            raise UsageError(
                f"{model.title} has no codebooks, which --kind {settings.kind} needs; "
                "add --model pretrained for EnCodec's own weights."
            )
        if settings.pool == "learned" and model.pooling is None:
            raise UsageError(f"{model.title} has no learned pooling; use --model bundled, or another --pool.")
        if model.quantizer is not None and settings.kind != "encoder":
            try:
                model.quantizer.codebook_count(_kbps(settings))
            except ValueError as error:
                raise UsageError(str(error)) from error
        self.settings = settings
        self.device = torch.device(device)
        self.batch_size = BATCH_SIZES.get(self.device.type, 1)
        self._highpass_hz = model.highpass_hz
        self.encoder = model.encoder.to(self.device).eval()
        self.quantizer = None if model.quantizer is None else model.quantizer.to(self.device)
        self.pooling = None if model.pooling is None else model.pooling.to(self.device).eval()
        identity = {"version": ROWS_VERSION, "reader": READER_VERSION, "model": model.sha256, **asdict(settings)}
        if model.highpass_hz is not None:  # a head keeps its digest when its card is replaced
            identity["highpass_hz"] = model.highpass_hz
        self.key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

    def whole(self, recordings: Sequence[Samples]) -> list[Rows]:
        """Return the rows of up to `batch_size` whole recordings, `[T] float32` each; fastest with similar lengths.

        They run as one batch up to the length of the shortest, and the rest of each by itself: EnCodec mirrors the end
        of a recording, so padding one would change its last frames.
        """
        normalized = [torch.from_numpy(self._normalize(recording)) for recording in recordings]
        shortest = min(len(samples) for samples in normalized)
        stream = self._batch
        stream.reset()
        audio = torch.zeros(self.batch_size, 1, shortest)
        audio[: len(normalized), 0] = torch.stack([samples[:shortest] for samples in normalized])
        used = torch.arange(self.batch_size) < len(normalized)  # [B]: the last batch may be smaller
        steps = [(stream.step(audio, used), stream.frame_counts)]
        for index, samples in enumerate(normalized):
            audio = torch.zeros(self.batch_size, 1, len(samples) - shortest)
            audio[index, 0] = samples[shortest:]
            steps.append((stream.step(audio, torch.arange(self.batch_size) == index), stream.frame_counts))
        steps.append((stream.flush(used), stream.frame_counts))
        return [
            np.concatenate(list(self._rows(frames[index, :, : counts[index]] for frames, counts in steps)))
            for index in range(len(normalized))
        ]

    def streamed(self, blocks: Iterable[Samples]) -> Iterator[Rows]:
        """Yield the rows of one recording that comes in blocks; memory does not grow with its length."""
        return self._rows(self._frames(blocks))

    @cached_property
    def _batch(self) -> StreamingEncoder:
        return StreamingEncoder(self.encoder, self.batch_size)

    @cached_property
    def _single(self) -> StreamingEncoder:
        return StreamingEncoder(self.encoder)

    def _normalize(self, samples: Samples) -> Samples:
        return FrontEnd(1, self._highpass_hz).step(samples[None])[0] if self.settings.level else samples

    def _frames(self, blocks: Iterable[Samples]) -> Iterator[Tensor]:
        """Encode the blocks; yields frames `[128, F]` piece by piece."""
        stream = self._single
        stream.reset()
        front_end = FrontEnd(1, self._highpass_hz) if self.settings.level else None
        for block in blocks:
            samples = block if front_end is None else front_end.step(block[None])[0]
            yield stream.step(torch.from_numpy(samples)[None, None])[0]
        yield stream.flush()[0]

    @torch.inference_mode()
    def _rows(self, pieces: Iterable[Tensor]) -> Iterator[Rows]:
        """Quantise and pool frames that come as `[128, F]`, piece by piece; yields rows `[n, D]`."""
        pool = None if self.settings.pool is None else RunningPool(self.settings.pool, self.pooling)
        for frames in pieces:
            quantized = self._quantized(frames)  # [D, F]
            if pool is None:
                yield quantized.T.cpu().numpy()
            else:
                pool.update(quantized)
        if pool is not None:
            yield pool.result()[None].numpy()

    def _quantized(self, frames: Tensor) -> Tensor:
        """Return `[128, F]` unchanged, quantised, or as codes `[K, F] int16`, by the settings' kind."""
        if self.settings.kind == "encoder" or self.quantizer is None:
            return frames
        codes = self.quantizer.encode(frames[None], _kbps(self.settings))  # [1, K, F]
        return codes[0].to(torch.int16) if self.settings.kind == "codes" else self.quantizer.decode(codes)[0]


def _kbps(settings: EmbedSettings) -> float:
    """Return the bandwidth in kbit/s, the default if none is set."""
    return DEFAULT_BANDWIDTH if settings.bandwidth is None else settings.bandwidth
