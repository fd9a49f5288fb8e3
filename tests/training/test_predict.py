import pytest
import torch

from streamer.codec import Encoder
from streamer.constants import FRAME_SAMPLES
from streamer.training.predict import StreamedFrames


@pytest.mark.parametrize(
    "shapes",
    [
        [(3, 40 * FRAME_SAMPLES)],
        [(1, 5 * FRAME_SAMPLES), (3, 19 * FRAME_SAMPLES), (2, FRAME_SAMPLES)],
        [(7, 8 * FRAME_SAMPLES)],
    ],
)
def test_streamed_frames_of_several_calls_equal_the_offline_encoder_s(
    shapes: list[tuple[int, int]],
) -> None:
    torch.manual_seed(0)
    encoder = Encoder().eval().requires_grad_(False)
    stream = StreamedFrames(encoder, rows=3)
    for shape in shapes:
        audio = torch.randn(shape) * 0.05
        torch.testing.assert_close(stream(audio), encoder(audio[:, None]), rtol=1e-4, atol=1e-5)
