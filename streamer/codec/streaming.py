"""Streaming EnCodec encoder: chunks of any length, several streams in one batch, output equal to the offline one."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import torch
from torch import Tensor, nn

from streamer.codec.cuda_graphs import CudaGraphs, FixedStep, StepCapture
from streamer.codec.device import upload
from streamer.codec.encoder import Encoder, EncoderState
from streamer.codec.layers import END, MIDDLE, START, WHOLE, Edges
from streamer.constants import EMBEDDING_DIM, FRAME_SAMPLES, STARTUP_SAMPLES

if TYPE_CHECKING:
    from encodec.model import EncodecModel

logger = logging.getLogger(__name__)

# Frames, of all streams together, that pass through the layers at once: 16 s of one stream. Longer steps are cut into
# blocks of this size, so that memory does not grow with the step; on a GPU the first layers' values take 50 MB.
BLOCK_FRAMES = 1200
# On a CPU, those with which streams begin: no plan cuts them into blocks that stay in cache (48 x 320 x 32 x 4 bytes).
CPU_START_FRAMES = 48


class Piece(NamedTuple):
    """Edges and length of the audio that one stream encodes in one call. Streams with equal pieces run as one batch."""

    edges: Edges
    samples: int


@dataclass(slots=True)
class StreamProgress:
    """Progress of one stream, kept on the host."""

    pending: int = 0  # samples received that cannot be encoded yet, fewer than 2,240
    started: bool = False
    ended: bool = False


class StreamingEncoder(nn.Module):
    """Encodes `batch_size` streams with EnCodec's encoder, each in chunks of any length.

    After n samples a stream has returned n // 320 frames if n >= 2,240, and none before: EnCodec mirrors the first
    samples at every layer, and its last layer needs seven frames for that, 7 x 320 samples = 93 ms. The concatenated
    frames equal the offline encoder's on the whole signal, for any chunking.

    The weights are copied: later changes to `encoder` have no effect here. Moving the module to another device or
    dtype, or loading weights into it, resets all streams; call `prepare` again after that. On CUDA, torch's own
    settings apply, TF32 convolutions among them (`torch.backends.cudnn`), and the host never waits for the GPU: pass
    audio and masks in host memory, since a mask on the GPU must be read back. Not thread-safe.

    Args:
        encoder: the weights.
        batch_size: number of streams, B; `grow` adds more.
        capture: records a prepared step as one launch; by default CUDA graphs on CUDA, nothing elsewhere.

    Attributes:
        batch_size: current number of streams.
    """

    _state: EncoderState
    _pending: Tensor  # [B, 2240]; in each row, the first `StreamProgress.pending` samples are valid
    _fixed_step: FixedStep | None
    _capture: StepCapture | None
    _prepared_samples: int  # length of the step that `prepare` was called for; 0 if it was not

    def __init__(self, encoder: Encoder, batch_size: int = 1, *, capture: StepCapture | None = None) -> None:
        super().__init__()
        self.encoder = deepcopy(encoder).eval().requires_grad_(False)
        for module in self.encoder.modules():
            if isinstance(module, nn.LSTM):
                module.flatten_parameters()  # a copy's weights are not contiguous, which cuDNN warns about
        self.batch_size = batch_size
        self._given_capture = capture
        self._released = False
        self._rebuild()
        self.register_load_state_dict_post_hook(_rebuild_after_loading)  # type: ignore[no-untyped-call]

    @classmethod
    def from_encodec(cls, model: "EncodecModel", batch_size: int = 1) -> Self:
        """Copy the encoder of a 24 kHz model of the `encodec` package; the model is not changed.

        Raises:
            UnsupportedModelError: the model is not mono, causal and 24 kHz.
        """
        return cls(Encoder.from_encodec(model), batch_size)

    @property
    def frame_counts(self) -> Tensor:
        """Number of valid frames in each row of the last `step` or `flush`, `[B] int64` on the CPU."""
        return torch.tensor(self._counts, dtype=torch.int64)

    def step(self, audio: Tensor, exec_mask: Tensor | None = None) -> Tensor:
        """Return the frames that `audio` completes.

        Args:
            audio: `[B, 1, S]` mono float at 24 kHz, any S >= 0, on any device and of any float type.
            exec_mask: `[B] bool`, the streams to advance (all, if None); the others keep their state and get no frames.

        Returns:
            `[B, 128, F]`, where F is the largest count of any stream; rows are left-aligned and padded with zeros, and
            `frame_counts` holds the number of valid frames.

        Raises:
            ValueError: the shape of `audio` or `exec_mask` is wrong.
            RuntimeError: a stream to advance was flushed and not reset.
        """
        if exec_mask is None and self._takes_fast_path(audio):
            self._counts = [audio.shape[2] // FRAME_SAMPLES] * self.batch_size
            with torch.inference_mode():
                frames: Tensor = self.encoder(audio, self._state, MIDDLE)
            # A clone made outside inference mode is an ordinary tensor, which autograd may save for the backward pass.
            return frames if torch.is_inference_mode_enabled() else frames.clone()
        streams = self._selected(exec_mask)
        signal = self._to_signal(audio)  # [B, S]
        ended = [stream for stream in streams if self._streams[stream].ended]
        if ended and signal.shape[1]:
            raise RuntimeError(f"Stream(s) {ended} ended with flush(); call reset() before they take audio again.")
        return self._encode({stream: self._next_piece(stream, signal.shape[1]) for stream in streams}, signal)

    def _takes_fast_path(self, audio: Tensor) -> bool:
        """Return whether `audio` can go through the layers as it is, without bookkeeping for each stream.

        This is the common case of live audio: whole frames for all streams, all past their start and without pending
        samples, at most one block. Working out each stream's piece would take a tenth of a short step.
        """
        if audio.dim() != 3 or audio.dtype != self._dtype or audio.device != self._device:
            return False
        if self._fixed_step is not None:
            return False
        batch_size, channels, samples = audio.shape
        fits = 0 < batch_size * samples <= BLOCK_FRAMES * FRAME_SAMPLES and samples % FRAME_SAMPLES == 0
        if not fits or (batch_size, channels) != (self.batch_size, 1):
            return False
        return all(stream.started and not stream.pending and not stream.ended for stream in self._streams)

    def flush(self, mask: Tensor | None = None) -> Tensor:
        """End the streams of `mask: [B] bool` (all, if None) and return their remaining frames, as `step` does.

        With those of `step`, a stream of n samples has ceil(n / 320) frames. An ended stream takes no more audio until
        it is reset; a second flush returns no frames.
        """
        streams = self._selected(mask)
        pieces = {
            stream: Piece(END if self._streams[stream].started else WHOLE, self._streams[stream].pending)
            for stream in streams
        }
        frames = self._encode(pieces, self._pending[:, :0])
        for stream in streams:
            self._streams[stream].ended = True
        return frames

    def reset(self, mask: Tensor | None = None) -> None:
        """Reset the streams of `mask: [B] bool` (all, if None) to the state before their first sample."""
        streams = self._selected(mask)
        self._state.reset(self._index(streams))
        for stream in streams:
            self._streams[stream] = StreamProgress()

    def grow(self, batch_size: int) -> None:
        """Add fresh streams until there are `batch_size`; the existing streams continue unchanged.

        All state is copied each time, so grow by more than one where streams come and go. A prepared step is prepared
        again.

        Raises:
            ValueError: there are already more streams than that.
        """
        if batch_size < self.batch_size:
            raise ValueError(f"There are already {self.batch_size} streams and a batch only grows; got {batch_size}.")
        before = (*self._state.tensors(), self._pending)
        self._streams += [StreamProgress() for _ in range(batch_size - self.batch_size)]
        self.batch_size = batch_size
        self._allocate()
        for new, old in zip((*self._state.tensors(), self._pending), before, strict=True):
            new[: len(old)].copy_(old)
        if self._prepared_samples:
            self.prepare(self._prepared_samples)

    def prepare(self, samples: int) -> None:
        """Prepare for many steps of `samples`, the usual step of live audio: on CUDA such a step becomes one launch.

        Streams past their start are then encoded in blocks of `samples`; what remains runs as before. Where the step
        cannot be captured, one warning is logged and everything runs as before. No stream's state changes.

        Raises:
            ValueError: `samples` is not a whole number of frames of 320 samples.
        """
        if samples < FRAME_SAMPLES or samples % FRAME_SAMPLES:
            raise ValueError(
                f"A prepared step must be a whole number of frames of {FRAME_SAMPLES} samples; got {samples}."
            )
        self._prepared_samples, self._fixed_step = samples, None
        if self._capture is None:
            return
        try:
            with torch.inference_mode():
                self._fixed_step = FixedStep(self.encoder, self._state, samples, self._capture)
        except RuntimeError as error:  # what both CUDA and torch raise
            logger.warning("A step cannot be captured as one launch here and runs operation by operation: %s", error)
            self._capture = None

    def release_weights(self) -> None:
        """Free the plain weights where only packed copies are used, on the CPU; it cannot be moved afterwards."""
        if self._device.type == "cpu":
            self.encoder.release()
            self._released = True

    def forward(self, audio: Tensor, exec_mask: Tensor | None = None) -> Tensor:
        """Call `step`, so that the module itself can be called."""
        return self.step(audio, exec_mask)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        if self._released:
            raise RuntimeError("The encoder's plain weights were released; make a new one to move it.")
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._rebuild()
        return self

    def _rebuild(self) -> None:
        """Use the weights with their present values, device and dtype, and reset all streams."""
        parameter = next(self.encoder.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype
        if parameter.is_cpu:
            self.encoder.pack()
        else:
            self.encoder.unpack()
        self._start_frames = CPU_START_FRAMES if parameter.is_cpu else BLOCK_FRAMES
        self._capture = self._given_capture
        if self._capture is None and parameter.is_cuda:
            self._capture = CudaGraphs(parameter.device)
        self._prepared_samples = 0
        self._streams = [StreamProgress() for _ in range(self.batch_size)]
        self._allocate()

    @torch.inference_mode(False)
    def _allocate(self) -> None:
        """Allocate zeroed memory for `batch_size` streams."""
        self._fixed_step = None  # it works on the old memory
        self._state = self.encoder.init_state(self.batch_size)
        self._pending = next(self.encoder.parameters()).new_zeros(self.batch_size, STARTUP_SAMPLES)
        self._counts = [0] * self.batch_size

    def _next_piece(self, stream: int, new_samples: int) -> Piece:
        """Return the piece that `stream` can encode with `new_samples` more."""
        samples = self._streams[stream].pending + new_samples
        if self._streams[stream].started:
            return Piece(MIDDLE, samples - samples % FRAME_SAMPLES)
        return Piece(START, samples - samples % FRAME_SAMPLES if samples >= STARTUP_SAMPLES else 0)

    def _encode(self, pieces: dict[int, Piece], signal: Tensor) -> Tensor:
        """Encode the pieces, cut from pending samples and `signal: [B, S]`, to `[B, 128, F]`; sets the frame counts."""
        counts = [0] * self.batch_size
        groups: dict[Piece, list[int]] = defaultdict(list)
        for stream, piece in pieces.items():
            counts[stream] = -(-piece.samples // FRAME_SAMPLES)
            groups[piece].append(stream)
        frames = signal.new_zeros(self.batch_size, EMBEDDING_DIM, max(counts, default=0))
        with torch.inference_mode():
            for piece, streams in groups.items():
                index = None if len(streams) == self.batch_size else self._index(streams)
                audio = self._take(streams, index, piece.samples, signal)
                if piece.samples:
                    encoded = self._run(audio.unsqueeze(1), piece.edges, index)  # [N, 128, F']
                    target = frames[:, :, : encoded.shape[-1]]
                    target.copy_(encoded) if index is None else target.index_copy_(0, index, encoded)
        for stream, piece in pieces.items():
            self._streams[stream].started |= piece.edges.first and piece.samples > 0
        self._counts = counts
        return frames

    def _take(self, streams: Sequence[int], index: Tensor | None, samples: int, signal: Tensor) -> Tensor:
        """Return the first `samples` of pending and new audio, `[N, samples]`; the rest stays pending.

        Args:
            streams: the N streams.
            index: the same as `[N] int64`; None for all streams.
            samples: how many to take of each.
            signal: `[B, S]`, the new audio of all streams.
        """
        if samples == signal.shape[1] and not any(self._streams[stream].pending for stream in streams):
            return signal if index is None else signal.index_select(0, index)
        taken = []
        for stream in streams:
            progress, pending = self._streams[stream], self._pending[stream]
            joined = torch.cat((pending[: progress.pending], signal[stream]))
            taken.append(joined[:samples])
            progress.pending = len(joined) - samples
            pending[: progress.pending] = joined[samples:]
        return torch.stack(taken)

    def _run(self, audio: Tensor, edges: Edges, index: Tensor | None) -> Tensor:
        """Encode `audio: [N, 1, S]`, pieces of the streams `index: [N]` (all, if None), to `[N, 128, F]`."""
        encoded, rest = [], audio
        if self._fixed_step is not None and edges == MIDDLE:
            while rest.shape[-1] >= self._fixed_step.samples:
                encoded.append(self._fixed_step(rest[..., : self._fixed_step.samples], index))
                rest = rest[..., self._fixed_step.samples :]
        if rest.shape[-1]:
            encoded += self._run_in_blocks(rest, edges, index)
        return encoded[0] if len(encoded) == 1 else torch.cat(encoded, dim=-1)

    def _run_in_blocks(self, audio: Tensor, edges: Edges, index: Tensor | None) -> list[Tensor]:
        state = self._state if index is None else self._state.select(index)
        encoded, rest = [], audio
        while rest.shape[-1]:
            frames = (self._start_frames if edges.first else BLOCK_FRAMES) // len(audio)
            samples = max(frames * FRAME_SAMPLES, STARTUP_SAMPLES)
            encoded.append(self.encoder(rest[..., :samples], state, edges))
            rest, edges = rest[..., samples:], edges._replace(first=False)
        if index is not None:
            self._state.store(index, state)
        return encoded

    def _selected(self, mask: Tensor | None) -> Sequence[int]:
        """Return the streams of `mask: [B] bool`; all, if None. Raises ValueError for another shape or dtype."""
        if mask is None:
            return range(self.batch_size)
        if mask.shape != (self.batch_size,) or mask.dtype != torch.bool:
            raise ValueError(
                f"A mask must be [{self.batch_size}] bool, one for each stream; got {list(mask.shape)} {mask.dtype}."
            )
        return [stream for stream, selected in enumerate(mask.tolist()) if selected]

    def _to_signal(self, audio: Tensor) -> Tensor:
        """Return `audio: [B, 1, S]` as `[B, S]` on the weights' device, in their dtype.

        Raises:
            ValueError: `audio` has another shape or is not floating-point.
        """
        if audio.dim() != 3 or audio.shape[:2] != (self.batch_size, 1) or not audio.is_floating_point():
            raise ValueError(
                f"Audio must be [{self.batch_size}, 1, samples] of floats; got {list(audio.shape)} {audio.dtype}."
            )
        return upload(audio.detach(), self._device, self._dtype)[:, 0]

    def _index(self, streams: Sequence[int]) -> Tensor:
        return upload(torch.tensor(list(streams), dtype=torch.int64), self._device)


def _rebuild_after_loading(module: nn.Module, incompatible_keys: object) -> None:
    """Discard the packed weights and the state of the streams, which belong to the weights before."""
    assert isinstance(module, StreamingEncoder)
    module._rebuild()
