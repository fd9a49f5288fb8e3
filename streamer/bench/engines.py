"""The other engines that can run the encoder here, to be timed beside ours."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from streamer.bench.onnx_stream import OnnxStream
from streamer.bench.openvino_stream import OpenVinoStream, reduced_precisions
from streamer.codec import Encoder, import_encodec
from streamer.codec.precision import Precision
from streamer.constants import FRAME_SAMPLES
from streamer.extras import install_command
from streamer.installing import pip_install

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class StepEngine:
    """Encodes chunk by chunk, as the streaming encoder does."""

    name: str
    make: Callable[[Encoder, Tensor, int], Call]  # same weights, chunks [B, 1, S], threads → a call that runs one step


@dataclass(frozen=True, slots=True)
class WindowEngine:
    """Re-encodes the last window of every stream with every chunk: the way to do it without a streaming encoder."""

    name: str
    make: Callable[[Tensor], Call]  # windows [B, 1, T] → a call that encodes them; the weights are random


@dataclass(frozen=True, slots=True)
class Engines:
    """The engines that are installed, and one line for each that is not."""

    steps: tuple[StepEngine, ...]
    windows: tuple[WindowEngine, ...]
    missing: tuple[str, ...]


def find_engines() -> Engines:
    """Look for the packages of every engine."""
    steps, windows, missing = [], [WindowEngine("encodec, re-encoding", _encodec)], []
    if find_spec("onnxruntime") and find_spec("onnx"):
        steps.append(StepEngine("onnxruntime", _onnxruntime))
    else:
        missing.append(f"onnxruntime is not timed: {install_command('bench')}")
    if find_spec("openvino") and find_spec("onnx"):
        precisions: tuple[Precision, ...] = ("float32", *reduced_precisions())
        steps += [StepEngine(f"openvino {one}", partial(_openvino, precision=one)) for one in precisions]
    else:
        missing.append(f"openvino is not timed: {install_command('peers')}")
    if find_spec("transformers"):
        windows.append(WindowEngine("transformers, re-encoding", _transformers))
    else:
        missing.append(f"transformers is not timed: {pip_install()} transformers")
    return Engines(tuple(steps), tuple(windows), tuple(missing))


def _onnxruntime(encoder: Encoder, chunks: Tensor, threads: int) -> Call:
    audio = chunks.numpy()
    stream = OnnxStream(encoder, batch_size=audio.shape[0], frames=audio.shape[2] // FRAME_SAMPLES, threads=threads)
    return lambda: stream.step(audio)


def _openvino(encoder: Encoder, chunks: Tensor, threads: int, *, precision: Precision) -> Call:
    audio = chunks.numpy()
    stream = OpenVinoStream(encoder, audio.shape[0], audio.shape[2] // FRAME_SAMPLES, threads, precision)
    return lambda: stream.step(audio)


def _encodec(windows: Tensor) -> Call:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*weight_norm.*is deprecated", category=FutureWarning)
        model = import_encodec().EncodecModel.encodec_model_24khz(pretrained=False)
    return _one_by_one(model.encoder, windows)


def _transformers(windows: Tensor) -> Call:
    from transformers import EncodecConfig, EncodecModel

    return _one_by_one(EncodecModel(EncodecConfig()).encoder.eval(), windows)  # the configuration of the 24 kHz model


def _one_by_one(encoder: Any, windows: Tensor) -> Call:
    """Encode windows one after the other: as one batch they take longer, being too large for the caches."""

    def encode() -> None:
        with torch.inference_mode():
            for window in windows:  # [1, T]
                encoder(window.unsqueeze(0))

    return encode
