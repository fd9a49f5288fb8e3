"""The encoder over live audio: any chunking, several streams in one batch, exactly the offline output."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, NamedTuple, Self

import torch
from torch import Tensor, nn

from streamer.codec.encoder import Encoder
from streamer.codec.layers import END, MIDDLE, START, WHOLE, Edges
from streamer.rates import EMBEDDING_DIM, HOP, STARTUP_SAMPLES

if TYPE_CHECKING:
    from encodec.model import EncodecModel

# Frames of all streams together that run through the layers at once. Longer steps are cut into such blocks: on a CPU
# the first layers' values (48 x 320 x 32 x 4 bytes = 2 MB) stay near the core, and memory does not grow with the step.
CPU_BLOCK_FRAMES = 48
BLOCK_FRAMES = 1200  # elsewhere: 16 s of one stream, 50 MB in the first layers


class Piece(NamedTuple):
    """What one stream gives to the encoder in one call. Streams with equal pieces run as one batch."""

    edges: Edges
    samples: int


class StreamingEncoder(nn.Module):
    """EnCodec's encoder over `batch_size` streams that each come in chunks of any length.

    After n samples a stream has given n // 320 frames once n >= 2,240 (93 ms: EnCodec mirrors the first samples at
    every layer, and its last layer has to see seven frames for that), and none before. The concatenated frames equal
    the offline encoder's on the whole signal, whatever the chunks.

    The weights are copied: later changes to `encoder` do not arrive here. Moving the module to another device or dtype
    resets all streams. On CUDA torch's own settings hold, TF32 convolutions among them (`torch.backends.cudnn`). Not
    for several threads at once.

    Attributes:
        batch_size: the number of streams, B.
        frame_counts: `[B] int64` on the CPU: how many frames of each row of the last `step` or `flush` are real.
    """

    def __init__(self, encoder: Encoder, batch_size: int = 1) -> None:
        super().__init__()
        self.encoder = deepcopy(encoder).eval().requires_grad_(False)
        for module in self.encoder.modules():
            if isinstance(module, nn.LSTM):
                module.flatten_parameters()  # a copy's weights lie scattered, which cuDNN warns of
        self.batch_size = batch_size
        self._start_anew()

    @classmethod
    def from_encodec(cls, model: "EncodecModel", batch_size: int = 1) -> Self:
        """Streams with the encoder of a 24 kHz model of the `encodec` package; the model is copied and left as it is.

        Raises:
            UnsupportedModelError: the model is not mono, causal and at 24 kHz.
        """
        return cls(Encoder.from_encodec(model), batch_size)

    def step(self, audio: Tensor, exec_mask: Tensor | None = None) -> Tensor:
        """The frames that `audio` completes.

        Args:
            audio: `[B, 1, S]` mono float at 24 kHz, any S >= 0; on whatever device and of whatever float type.
            exec_mask: `[B] bool`, those that take part (all, if None); the others keep their state and give no frames.

        Returns:
            `[B, 128, F]`, F being the largest count of any stream; rows are left-aligned and filled up with zeros, and
            `frame_counts` says how many frames are real.

        Raises:
            ValueError: the shape of `audio` or `exec_mask` is wrong.
            RuntimeError: a stream that takes part was flushed and not reset.
        """
        streams = self._chosen(exec_mask)
        signal = self._signal(audio)  # [B, S]
        ended = [stream for stream in streams if self._ended[stream]]
        if ended and signal.shape[1]:
            raise RuntimeError(f"Stream(s) {ended} ended with flush(); call reset() before they take audio again.")
        pieces = {stream: self._next_piece(stream, signal.shape[1]) for stream in streams}
        with torch.inference_mode():
            taken = self._take(pieces, signal)
        return self._encode(pieces, taken)

    def flush(self, mask: Tensor | None = None) -> Tensor:
        """Ends the streams of `mask: [B] bool` (all, if None) and returns the frames that were left, as `step` does.

        Together with those of `step` they are ceil(n / 320). An ended stream takes no more audio until it is reset; to
        end it once more gives nothing.
        """
        streams = self._chosen(mask)
        pieces = {
            stream: Piece(END if self._started[stream] else WHOLE, len(self._pending[stream])) for stream in streams
        }
        taken = {stream: self._pending[stream] for stream in streams}
        frames = self._encode(pieces, taken)
        for stream in streams:
            self._pending[stream] = self._pending[stream][:0]
            self._ended[stream] = True
        return frames

    def reset(self, mask: Tensor | None = None) -> None:
        """Starts the streams of `mask: [B] bool` (all, if None) anew, as before their first sample."""
        streams = self._chosen(mask)
        self._state.reset(self._index(streams))
        for stream in streams:
            self._pending[stream] = self._pending[stream][:0]
            self._started[stream] = self._ended[stream] = False

    def forward(self, audio: Tensor, exec_mask: Tensor | None = None) -> Tensor:
        """`step`, for those who call modules."""
        return self.step(audio, exec_mask)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._start_anew()
        return self

    def _start_anew(self) -> None:
        parameter = next(self.encoder.parameters())
        if parameter.is_cpu:
            self.encoder.pack()
        block_frames = CPU_BLOCK_FRAMES if parameter.is_cpu else BLOCK_FRAMES
        self._block_samples = max(block_frames // self.batch_size * HOP, STARTUP_SAMPLES)
        self._state = self.encoder.init_state(self.batch_size)
        self._pending = [parameter.new_empty(0) for _ in range(self.batch_size)]  # fewer than 2,240 samples each
        self._started = [False] * self.batch_size
        self._ended = [False] * self.batch_size
        self.frame_counts = torch.zeros(self.batch_size, dtype=torch.int64)

    def _next_piece(self, stream: int, new_samples: int) -> Piece:
        """What `stream` can encode once `new_samples` have come."""
        samples = len(self._pending[stream]) + new_samples
        if self._started[stream]:
            return Piece(MIDDLE, samples - samples % HOP)
        return Piece(START, samples - samples % HOP if samples >= STARTUP_SAMPLES else 0)

    def _take(self, pieces: dict[int, Piece], signal: Tensor) -> dict[int, Tensor]:
        """The samples of each piece, from those pending and the new `signal: [B, S]`; the rest stays pending."""
        taken = {}
        for stream, piece in pieces.items():
            samples = torch.cat((self._pending[stream], signal[stream]))
            taken[stream] = samples[: piece.samples]
            self._pending[stream] = samples[piece.samples :].clone()  # a view would keep all samples in memory
        return taken

    def _encode(self, pieces: dict[int, Piece], samples: dict[int, Tensor]) -> Tensor:
        """The frames of all pieces, `[B, 128, F]`; sets `frame_counts`."""
        counts = [0] * self.batch_size
        groups: dict[Piece, list[int]] = defaultdict(list)
        for stream, piece in pieces.items():
            counts[stream] = -(-piece.samples // HOP)
            if piece.samples:
                groups[piece].append(stream)
        frames = next(self.encoder.parameters()).new_zeros(self.batch_size, EMBEDDING_DIM, max(counts, default=0))
        with torch.inference_mode():
            for piece, streams in groups.items():
                batch = torch.stack([samples[stream] for stream in streams]).unsqueeze(1)  # [N, 1, S]
                encoded = self._run(batch, piece.edges, streams)
                frames[self._index(streams), :, : encoded.shape[-1]] = encoded
        for stream, piece in pieces.items():
            self._started[stream] |= piece.edges.first and piece.samples > 0
        self.frame_counts = torch.tensor(counts, dtype=torch.int64)
        return frames

    def _run(self, audio: Tensor, edges: Edges, streams: Sequence[int]) -> Tensor:
        """`audio: [N, 1, S]`, pieces of N streams, to their frames `[N, 128, F]`."""
        everyone = len(streams) == self.batch_size
        state = self._state if everyone else self._state.select(self._index(streams))
        encoded = []
        for begin in range(0, audio.shape[-1], self._block_samples):
            block = audio[..., begin : begin + self._block_samples]
            encoded.append(self.encoder(block, state, edges._replace(first=edges.first and begin == 0)))
        if not everyone:
            self._state.store(self._index(streams), state)
        return encoded[0] if len(encoded) == 1 else torch.cat(encoded, dim=-1)

    def _chosen(self, mask: Tensor | None) -> Sequence[int]:
        """The streams that `mask` names."""
        if mask is None:
            return range(self.batch_size)
        if mask.shape != (self.batch_size,) or mask.dtype != torch.bool:
            raise ValueError(
                f"A mask must be [{self.batch_size}] bool, one for each stream; got {list(mask.shape)} {mask.dtype}."
            )
        return [stream for stream, chosen in enumerate(mask.tolist()) if chosen]

    def _signal(self, audio: Tensor) -> Tensor:
        """`audio: [B, 1, S]` as `[B, S]` where the weights are, in their type."""
        if audio.dim() != 3 or audio.shape[:2] != (self.batch_size, 1) or not audio.is_floating_point():
            raise ValueError(
                f"Audio must be [{self.batch_size}, 1, samples] of floats; got {list(audio.shape)} {audio.dtype}."
            )
        parameter = next(self.encoder.parameters())
        return audio.detach().to(parameter.device, parameter.dtype)[:, 0]

    def _index(self, streams: Sequence[int]) -> Tensor:
        return torch.tensor(list(streams), dtype=torch.int64, device=next(self.encoder.parameters()).device)
