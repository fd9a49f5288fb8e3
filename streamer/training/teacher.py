"""The teacher: frozen features of a speech recogniser's encoder, which the student predicts at every frame.

Whisper (Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022, arXiv 2212.04356), MIT
licence, 50 frames a second: tiny.en, 4 layers of width 384, or the multilingual base, of whose 6 layers of width 512
the lower 4 are enough. It encodes whole clips at once, and only for training.

Distillation by regression of a teacher's layers: Chang et al., "DistilHuBERT", 2022 (arXiv 2110.01900).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import soxr
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from streamer.arrays import Float32Array
from streamer.constants import FRAME_RATE, SAMPLE_RATE
from streamer.errors import StreamerError, UsageError
from streamer.extras import install_command

TEACHER_RATE = 16_000  # Hz
TEACHER_FRAME_RATE = 50  # 16,000 / (160 x 2): the mel hop, and the second convolution's stride
TEACHER_RMS = 0.05
DEFAULT_TEACHER = "openai/whisper-tiny.en"
Mask = npt.NDArray[np.bool_]
MELS = 80
_FFT, _MEL_HOP = 400, 160  # 25 ms and 10 ms
_ENCODER = "model.encoder."  # prefix of the keys in a file that holds the decoder too
_SLOW_FRAMES = 10  # to each side: 21 frames at 50 a second are 0.42 s
_MAX_FRAMES = 1500  # 30 s x 50: rows in the table of positions
_HEAD_WIDTH = 64
_PARKED_AT = 5.0  # of a channel that otherwise stays within 3


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What one Whisper's encoder is made of, and what of it is learnt from."""

    name: str
    width: int
    layers: int
    has_norm: bool  # after the last layer; a file of lower layers has none
    chosen: tuple[int, ...]  # layers whose outputs are features, counted from 1: those that separate emotions best
    parked: int | None = None  # a channel of the chosen layers that tells frames on which attention is parked

    @property
    def features(self) -> int:
        """Width of the features."""
        return self.width * len(self.chosen)


TINY = Anatomy("Whisper tiny", 384, 4, has_norm=True, chosen=(3, 4))
BASE = Anatomy("Whisper base, layers 1 to 4", 512, 4, has_norm=False, chosen=(4,), parked=388)


class _Attention(nn.Module):
    """Multi-head self-attention; keys have no bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // _HEAD_WIDTH
        self.q_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(3))
        self.k_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[1, F, width]` to the same shape."""
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )  # [1, heads, F, 64]
        mixed: Tensor = self.out_proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return mixed


class _Layer(nn.Module):
    """A transformer layer with pre-norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.self_attn = _Attention(width)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[1, F, width]` to the same shape."""
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        y: Tensor = self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        return x + y


class WhisperTeacher(nn.Module):
    """Whisper's encoder, from one clip of speech to the outputs of chosen layers.

    The keys of its `state_dict` are those of transformers' `WhisperEncoder`. Unlike there, a clip is not padded to 30
    s: padding changes what base says of the other frames by a fifth of their norm.

    Args:
        anatomy: of the weights; the last layer's output is taken after the final norm, where there is one.
    """

    def __init__(self, anatomy: Anatomy = TINY) -> None:
        super().__init__()
        self.anatomy, width = anatomy, anatomy.width
        self.conv1 = nn.Conv1d(MELS, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(_MAX_FRAMES, width)
        self.layers = nn.ModuleList(_Layer(width) for _ in range(anatomy.layers))
        self.layer_norm = nn.LayerNorm(width) if anatomy.has_norm else nn.Identity()
        self.mel_filters: Tensor
        self.hann: Tensor
        self.register_buffer("mel_filters", torch.from_numpy(mel_filters()), persistent=False)  # [80, 201]
        self.register_buffer("hann", torch.hann_window(_FFT), persistent=False)
        self.eval().requires_grad_(False)

    @classmethod
    def load(cls, source: str | Path = DEFAULT_TEACHER) -> Self:
        """Load the weights from a safetensors file, or by a model's name from the Hugging Face hub.

        Raises:
            UsageError: huggingface_hub is needed and not installed, or the weights are of another model.
            StreamerError: the weights cannot be downloaded.
        """
        weights = _weights(source)
        width = len(weights.get("conv1.bias", ()))
        teacher = cls(BASE if width == BASE.width else TINY)
        if teacher.anatomy is BASE:  # of a whole encoder the lower layers are taken
            own = teacher.state_dict()
            weights = {name: tensor for name, tensor in weights.items() if name in own}
        try:
            teacher.load_state_dict(weights)
        except RuntimeError as error:
            raise UsageError(
                f"{source} does not hold the encoder of Whisper tiny or base; give one that does."
            ) from error
        return teacher

    @torch.no_grad()
    def forward(self, audio: Tensor) -> Tensor:
        """Map audio `[T]` at 16 kHz, T >= 1, cut at 30 s, to features `[F, D]`, 50 frames a second."""
        x = F.gelu(self.conv1(self.log_mel(audio)[None]))  # [1, width, 2F]
        x = F.gelu(self.conv2(x)).transpose(1, 2)  # [1, F, width]
        x = x + self.embed_positions.weight[: x.shape[1]]
        outputs = []
        for layer in self.layers:
            x = layer(x)
            outputs.append(x)
        outputs[-1] = self.layer_norm(x)
        return torch.cat([outputs[number - 1][0] for number in self.anatomy.chosen], dim=-1)

    def describes_sound(self, features: Float32Array) -> Mask:
        """Return which of the frames `[F, D]` describe the sound at their place: `[F] bool`, at least one.

        Base parks attention on some 2 % of the frames, most of them quiet: one channel stands far off, three hundred
        others follow, and together they are most of the layer's variance. Nothing may be averaged over those.
        """
        if self.anatomy.parked is None:
            return np.ones(len(features), dtype=np.bool_)
        size = np.abs(features[:, self.anatomy.parked])
        return np.asarray(size <= max(_PARKED_AT, float(size.min())))

    def log_mel(self, audio: Tensor) -> Tensor:
        """Map `[T]` at 16 kHz to `[80, 2F]`: log10 mel power, its upper 80 dB, scaled to about [-1, 1]."""
        audio = audio[: _MAX_FRAMES * 2 * _MEL_HOP]
        audio = F.pad(audio, (0, -len(audio) % (2 * _MEL_HOP)))
        spectrum = torch.stft(audio, _FFT, _MEL_HOP, window=self.hann, return_complex=True)[:, :-1]
        log = (self.mel_filters @ spectrum.abs().square()).clamp(min=1e-10).log10()
        return (torch.maximum(log, log.max() - 8.0) + 4.0) / 4.0

    def features(self, audio: Float32Array) -> Float32Array:
        """Map a clip `[T]` at 24 kHz, scaled to RMS 0.05, to features `[F, D]`, 50 frames a second."""
        rms = float(np.sqrt(np.mean(np.square(audio, dtype=np.float64))))
        scaled = soxr.resample(audio * (TEACHER_RMS / max(rms, 1e-6)), SAMPLE_RATE, TEACHER_RATE).astype(np.float32)
        result: Float32Array = self(torch.from_numpy(scaled).to(self.hann.device)).float().cpu().numpy()
        return result


def mel_filters(
    mels: int = MELS, fft: int = _FFT, rate_hz: int = TEACHER_RATE, low_hz: float = 0.0, high_hz: float | None = None
) -> Float32Array:
    """Return triangular filters `[mels, fft / 2 + 1]` of unit area on Slaney's mel scale: linear to 1 kHz, log above.

    Slaney, "Auditory Toolbox", 1998. They lie between `low_hz` and `high_hz`; None: half the sample rate.
    """
    per_hz, knee_hz = 3 / 200, 1000.0
    knee, log_step = knee_hz * per_hz, np.log(6.4) / 27

    def mel(hz: float) -> float:
        return hz * per_hz if hz < knee_hz else float(knee + np.log(hz / knee_hz) / log_step)

    scale = np.linspace(mel(low_hz), mel(rate_hz / 2 if high_hz is None else high_hz), mels + 2)
    edges_hz = np.where(scale < knee, scale / per_hz, knee_hz * np.exp(log_step * (scale - knee)))
    bins_hz = np.linspace(0, rate_hz / 2, fft // 2 + 1)
    low, middle, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    triangles = np.clip(np.minimum((bins_hz - low) / (middle - low), (high - bins_hz) / (high - middle)), 0, None)
    filters: Float32Array = (triangles * 2 / (high - low)).astype(np.float32)
    return filters


def _weights(source: str | Path) -> dict[str, Tensor]:
    file = Path(source) if Path(source).is_file() else _fetch(str(source))
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise UsageError(f"{source} is no safetensors file; give the teacher's encoder as one.") from error
    whole = any(name.startswith(_ENCODER) for name in tensors)  # a whole Whisper, of which the encoder is taken
    return {
        name.removeprefix(_ENCODER): tensor.float()
        for name, tensor in tensors.items()
        if not whole or name.startswith(_ENCODER)
    }


def _fetch(name: str) -> Path:
    """Download the weights of a model from the Hugging Face hub, or take them from its cache."""
    cure = "give the path of its encoder's safetensors file"
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise UsageError(
            f"The teacher {name} is downloaded by the package huggingface_hub; {install_command('train')}, or {cure}."
        ) from error
    try:
        return Path(hf_hub_download(name, "model.safetensors"))
    except (OSError, ValueError) as error:  # the hub's own errors are of these two kinds
        raise StreamerError(f"The teacher {name} cannot be downloaded; {cure}.") from error


def at_student_frames(
    features: Float32Array,
    frames: int,
    delay_s: float,
    start_s: float = 0.0,
    pace: float = 1.0,
    rate: int = TEACHER_FRAME_RATE,
) -> Float32Array:
    """Resample features to the student's frame rate, `delay_s` before the middle of each of its frames.

    Args:
        features: `[F, D]` at `rate` a second, F >= 1.
        frames: number of the student's frames, at 75 a second.
        delay_s: how much later than the teacher the student outputs a frame: the teacher looks ahead, the student
            cannot.
        start_s: where in the clip the student's first frame begins.
        pace: seconds of the clip in a second of the student's input.
        rate: frame rate of `features`.

    Returns:
        `[frames, D]`, linear between frames, constant beyond the ends.
    """
    times_s = start_s + pace * ((np.arange(frames) + 0.5) / FRAME_RATE - delay_s)
    places = np.clip(times_s * rate - 0.5, 0, len(features) - 1)
    below = np.floor(places).astype(np.int64)
    above = np.minimum(below + 1, len(features) - 1)
    share = (places - below).astype(np.float32)[:, None]
    return features[below] * (1 - share) + features[above] * share


def slow(features: Float32Array, counted: Mask | None = None) -> Float32Array:
    """Average `[F, D]` over 0.42 s around each frame: the manner of speaking, without the single phones.

    A causal student of half the teacher's depth cannot predict the phones: of the single frames it explains a tenth.
    The first two frames are set to the third: the teacher uses them for sums of its own.

    Args:
        features: of one clip.
        counted: `[F] bool` the frames that are averaged, at least one; None: all. A frame with none around it gets the
            values of the nearest frame that has some.
    """
    counted = np.ones(len(features), dtype=np.bool_) if counted is None else counted.copy()
    if len(features) > 2:
        features, counted[:2] = np.concatenate([features[2:3], features[2:3], features[2:]]), counted[2]
        if not counted.any():
            counted[:] = True
    sums = np.cumsum(
        np.concatenate([np.zeros_like(features[:1]), features * counted[:, None]]), axis=0, dtype=np.float64
    )
    counts = np.concatenate([[0], np.cumsum(counted)])
    places = np.arange(len(features))
    first, last = np.maximum(places - _SLOW_FRAMES, 0), np.minimum(places + _SLOW_FRAMES + 1, len(features))
    numbers = counts[last] - counts[first]
    means = (sums[last] - sums[first]) / np.maximum(numbers, 1)[:, None]
    known = np.flatnonzero(numbers)
    nearest = known[np.abs(places[:, None] - known).argmin(axis=1)] if len(known) < len(places) else places
    return np.asarray(means[nearest], dtype=np.float32)


@dataclass(frozen=True)
class Projection:
    """Standardised principal components of the teacher's features: narrower targets."""

    mean: Float32Array  # [D]
    matrix: Float32Array  # [D, K]: scaling and rotation in one

    @classmethod
    def fit(cls, features: Float32Array, components: int) -> Self:
        """Fit to frames `[N, D]`, N and D >= components.

        Features are standardised first. A component is divided by the fourth root of its variance, half way between
        principal components and whitened ones: small components count in the loss, and noise does not dominate it.
        """
        mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
        standard = (features - mean) / deviation
        variances, vectors = np.linalg.eigh(standard.T @ standard / len(standard))  # ascending
        variances, vectors = variances[::-1][:components], vectors[:, ::-1][:, :components]
        scale = np.maximum(variances, 1e-8) ** -0.25
        scale = scale / np.sqrt(np.mean(variances * scale**2))  # the mean variance of a component is 1
        matrix: Float32Array = (vectors * scale / deviation[:, None]).astype(np.float32)
        return cls(mean.astype(np.float32), matrix)

    def __call__(self, features: Float32Array) -> Float32Array:
        """Project `[N, D]` to `[N, K]`."""
        # By torch: numpy's threads go on waiting for work in busy loops, beside those that compute the features.
        projected: Float32Array = (torch.from_numpy(features - self.mean) @ torch.from_numpy(self.matrix)).numpy()
        return projected
