"""The plain streaming graph in OpenVINO, in float32 and in bfloat16."""

from typing import Any

import numpy as np
import numpy.typing as npt

from streamer.bench.onnx_stream import Array, streaming_graph
from streamer.codec import Encoder
from streamer.codec.precision import Precision

_ELEMENT_TYPES: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoStream:
    """Encodes `batch_size` streams in steps of `frames` frames. Needs the packages onnx and openvino.

    Shapes are fixed, and the runtime keeps the state itself, which is its fastest way: handed in and out, as to ONNX
    Runtime, it costs up to a third more in bfloat16. Streams begin with tails of zeros, as in `OnnxStream`.
    """

    def __init__(
        self, encoder: Encoder, batch_size: int, frames: int, threads: int = 1, precision: Precision = "float32"
    ) -> None:
        import openvino
        from openvino._offline_transformations import apply_make_stateful_transformation

        core = openvino.Core()
        model = core.read_model(streaming_graph(encoder, batch_size, frames))
        before, after = ([state.get_any_name() for state in ends[1:]] for ends in (model.inputs, model.outputs))
        apply_make_stateful_transformation(model, dict(zip(before, after, strict=True)))
        self._names = [old + new for old, new in zip(before, after, strict=True)]  # of the runtime's states
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": _ELEMENT_TYPES[precision],
            "ENABLE_CPU_PINNING": False,  # whoever measures pins the process
        }
        compiled = core.compile_model(model, "CPU", settings)
        self._audio = np.zeros(compiled.inputs[0].shape, np.float32)
        self._request = compiled.create_infer_request()
        self._request.set_input_tensor(0, openvino.Tensor(self._audio, shared_memory=True))

    def step(self, audio: npt.NDArray[np.float32]) -> Array:
        """Encode audio `[B, 1, frames * 320]` into embeddings `[B, 128, frames]`, overwritten by the next step."""
        np.copyto(self._audio, audio)
        self._request.infer()
        return self._request.get_output_tensor(0).data  # type: ignore[no-any-return]

    def set_states(self, values: list[Array]) -> None:
        """Continue from these states, in the order of the graph."""
        import openvino

        states: dict[str, Any] = {state.name: state for state in self._request.query_state()}
        for name, value in zip(self._names, values, strict=True):
            states[name].state = openvino.Tensor(np.ascontiguousarray(value))


def reduced_precisions() -> tuple[Precision, ...]:
    """Return the precisions below float32 that OpenVINO computes in on this processor."""
    import openvino

    return ("bfloat16",) if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else ()
