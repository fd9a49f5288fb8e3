"""From a pooled window to one logit per emotion."""

from torch import Tensor, nn

from streamer.emotion.pooling import POOLED_DIM

HIDDEN_DIMS = (256, 128)
DROPOUT = 0.5


class Classifier(nn.Module):
    """A multi-layer perceptron, 256-128-`num_classes`: pooled `[B, 640]` to uncalibrated logits `[B, num_classes]`."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        first, second = HIDDEN_DIMS
        self.layers = nn.Sequential(
            nn.Linear(POOLED_DIM, first),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(second, num_classes),
        )

    def forward(self, pooled: Tensor) -> Tensor:
        """`[B, 640]` to `[B, num_classes]`."""
        logits: Tensor = self.layers(pooled)
        return logits
