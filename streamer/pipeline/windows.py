"""What inference is told, and what it says of each window."""

from dataclasses import dataclass

import torch

from streamer.events import Familiarity


@dataclass(frozen=True, slots=True)
class InferenceSettings:
    """How streams are encoded and cut into windows."""

    window_frames: int  # in a full window
    hop_frames: int  # between the ends of two windows
    encoder_dtype: torch.dtype = torch.float32  # the rest computes in float32; bfloat16 is meant for accelerators
    vad_threshold: float = 0.5  # probability from which speech begins
    min_speech: float = 0.25  # share of a window that must be speech for it to get probabilities
    rest: bool = False  # whether rows in which nobody speaks are not encoded


@dataclass(frozen=True, slots=True)
class WindowResult:
    """Result of one analysis window of one batch row."""

    row: int
    end: int  # samples since the row's reset, after the window's last one
    frames: int  # that the window holds; fewer than a full window's while it fills
    probs: tuple[float, ...] | None  # in label order; None where too little of the window is speech
    attention: tuple[float, ...]  # [frames] weights, oldest first, summing to 1; none while the row rests
    speech: float  # share of the window with voice activity
    skipped: int = 0  # windows left out directly before this one
    embedding: tuple[float, ...] | None = None  # [128] attentive mean before any profile offset; where enabled
    familiarity: Familiarity | None = None  # of the stream to the model; None where the checkpoint has no history
    rested: bool = False  # the row was not encoded
