import pytest
import torch

from streamer.codec import Encoder
from streamer.constants import HOP
from streamer.training.predict import StreamedFrames


@pytest.mark.parametrize("shapes", [[(3, 40 * HOP)], [(1, 5 * HOP), (3, 19 * HOP), (2, HOP)], [(7, 8 * HOP)]])
def test_recordings_one_call_after_the_other_give_the_frames_of_the_offline_encoder(
    shapes: list[tuple[int, int]],
) -> None:
    torch.manual_seed(0)
    encoder = Encoder().eval().requires_grad_(False)
    stream = StreamedFrames(encoder, rows=3)
    for shape in shapes:
        audio = torch.randn(shape) * 0.05
        torch.testing.assert_close(stream(audio), encoder(audio[:, None]), rtol=1e-4, atol=1e-5)
