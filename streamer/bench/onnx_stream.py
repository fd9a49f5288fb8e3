"""The streaming encoder as a plain ONNX graph in ONNX Runtime: its cost without our own kernels.

The graph has one node per layer (Conv, Elu, LSTM, Add); the convolutions' tails and the LSTM's state are inputs and
outputs. Shapes are fixed, which is the best case for the runtime.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from streamer.codec import Encoder
from streamer.codec.layers import CausalConv1d, ResidualBlock, ResidualLSTM
from streamer.constants import EMBEDDING_DIM, FRAME_SAMPLES

Array = npt.NDArray[Any]

OPSET, IR_VERSION = 17, 9  # of 2022: every ONNX Runtime in use reads them


class OnnxStream:
    """Encodes `batch_size` streams in steps of `frames` frames. Needs the packages onnx and onnxruntime.

    Streams begin with tails of zeros instead of EnCodec's mirrored samples, which takes as long.

    Attributes:
        states: by name, in the order of the encoder's layers: tails `[B, C, T]`, and the LSTM's `[1, B, C]`.
    """

    def __init__(self, encoder: Encoder, batch_size: int, frames: int, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        graph = streaming_graph(encoder, batch_size, frames)
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        _, *states = self._session.get_inputs()
        self.states: dict[str, Array] = {state.name: np.zeros(state.shape, np.float32) for state in states}

    def step(self, audio: npt.NDArray[np.float32]) -> Array:
        """Encode audio `[B, 1, frames * 320]` into embeddings `[B, 128, frames]`."""
        embeddings, *states = self._session.run(None, {"audio": audio, **self.states})
        self.states = dict(zip(self.states, states, strict=True))
        return embeddings  # type: ignore[no-any-return]


def streaming_graph(encoder: Encoder, batch_size: int, frames: int) -> bytes:
    """Return one step of `batch_size` streams as a serialised ONNX model.

    The first input is the audio, the others are the states; the first output is the embeddings, the others are the new
    states in the same order.
    """
    return _Graph(encoder, batch_size, frames).model().SerializeToString()  # type: ignore[no-any-return]


class _Graph:
    """Builds the graph of one step; every method returns the name of its output, `[B, C, T]`."""

    def __init__(self, encoder: Encoder, batch_size: int, frames: int) -> None:
        from onnx import TensorProto, helper, numpy_helper

        self._helper, self._to_onnx, self._float = helper, numpy_helper.from_array, TensorProto.FLOAT
        self._batch_size = batch_size
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs = [self._value("audio", batch_size, 1, frames * FRAME_SAMPLES)]
        self._outputs: list[Any] = []
        x = "audio"
        for layer in encoder.model:
            x = self._layer(layer, x)
        self._outputs.insert(0, self._value(x, batch_size, EMBEDDING_DIM, frames))

    def model(self) -> Any:
        """Return the whole graph as an onnx.ModelProto, checked."""
        from onnx import checker

        graph = self._helper.make_graph(self._nodes, "encoder", self._inputs, self._outputs, self._constants)
        opsets = [self._helper.make_opsetid("", OPSET)]
        model = self._helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        checker.check_model(model)
        return model

    def _layer(self, layer: nn.Module, x: str) -> str:
        if isinstance(layer, CausalConv1d):
            return self._conv(layer, x)
        if isinstance(layer, ResidualBlock):
            return self._node(
                "Add", self._conv(layer.shortcut, x), self._conv(layer.pointwise, self._conv(layer.conv, x))
            )
        return self._lstm(layer, x) if isinstance(layer, ResidualLSTM) else x

    def _conv(self, conv: CausalConv1d, x: str) -> str:
        if conv.activated:
            x = self._node("Elu", x)
        if conv.context:
            x = self._node("Concat", self._state(self._batch_size, conv.in_channels, conv.context), x, axis=2)
            begin, end, axis = (self._constant(np.array([n])) for n in (-conv.context, np.iinfo(np.int64).max, 2))
            self._new_state(self._node("Slice", x, begin, end, axis), self._batch_size, conv.in_channels, conv.context)
        parameters = [self._constant(parameter.detach().numpy()) for parameter in conv.conv.conv.parameters()]
        return self._node("Conv", x, *parameters, strides=[conv.stride])

    def _lstm(self, layer: ResidualLSTM, x: str) -> str:
        size = layer.lstm.hidden_size
        y = before = self._node("Transpose", x, perm=[2, 0, 1])  # [T, B, C]
        for place in range(layer.lstm.num_layers):
            weight_ih, weight_hh, bias_ih, bias_hh = (
                _onnx_gates(getattr(layer.lstm, f"{name}_l{place}").detach().numpy())
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            weights = (weight_ih[None], weight_hh[None], np.concatenate((bias_ih, bias_hh))[None])
            states = [self._state(1, self._batch_size, size) for _ in range(2)]
            inputs = [y, *map(self._constant, weights), "", *states]  # "": all streams are equally long
            names = [f"lstm{place}_{output}" for output in ("y", "hidden", "cell")]
            self._nodes.append(self._helper.make_node("LSTM", inputs, names, hidden_size=size))
            for name in names[1:]:
                self._new_state(name, 1, self._batch_size, size)
            y = self._node("Squeeze", names[0], self._constant(np.array([1])))  # of [T, directions, B, C]
        return self._node("Transpose", self._node("Add", before, y), perm=[1, 2, 0])

    def _node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}{len(self._nodes)}"
        self._nodes.append(self._helper.make_node(kind, inputs, [name], **attributes))
        return name

    def _constant(self, values: Array) -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(self._to_onnx(np.ascontiguousarray(values), name))
        return name

    def _state(self, *shape: int) -> str:
        name = f"state{len(self._inputs)}"
        self._inputs.append(self._value(name, *shape))
        return name

    def _new_state(self, name: str, *shape: int) -> None:
        self._outputs.append(self._value(name, *shape))

    def _value(self, name: str, *shape: int) -> Any:
        return self._helper.make_tensor_value_info(name, self._float, shape)


def _onnx_gates(parameter: Array) -> Array:
    """Reorder torch's gates i, f, g, o along axis 0 to ONNX's i, o, f, g."""
    i, f, g, o = np.split(parameter, 4)
    return np.concatenate((i, o, f, g))
