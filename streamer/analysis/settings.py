"""What `streamer embed` computes from each recording; imports nothing heavy, so that the command line may use it."""

from dataclasses import dataclass
from typing import Literal, get_args

from streamer.errors import UsageError

Kind = Literal["encoder", "quantized", "codes"]  # before the quantiser, after it, or its codes
KINDS: tuple[Kind, ...] = get_args(Kind)
Method = Literal["mean", "max", "attention", "learned", "multi"]  # how frames are pooled, see `aggregate`
METHODS: tuple[Method, ...] = get_args(Method)
Grouping = Literal["corpus", "speaker"]  # whose mean `analyze` takes away


@dataclass(frozen=True, slots=True)
class EmbedSettings:
    """What to compute from each recording. Raises UsageError if the settings contradict each other."""

    kind: Kind = "encoder"
    pool: str | None = "mean"  # one of METHODS; None keeps every frame
    bandwidth: float | None = None  # kbit/s, for quantized and codes only
    level: bool = False  # whether the level normaliser is applied first

    def __post_init__(self) -> None:
        if self.pool is not None and self.pool not in METHODS:
            raise UsageError(f"--pool must be one of {', '.join(METHODS)}, not {self.pool}.")
        if self.kind == "codes" and self.pool is not None:
            raise UsageError("Codes are indices and cannot be pooled; use --frames, or --kind quantized.")
        if self.kind == "encoder" and self.bandwidth is not None:
            raise UsageError("--bandwidth is for --kind quantized or codes; the encoder's embeddings have none.")
