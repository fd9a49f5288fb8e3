"""From a pooled window to one logit per emotion."""

from torch import nn

from streamer.emotion.pooling import POOLED_DIM


class Classifier(nn.Linear):
    """A softmax regression: pooled `[B, 640]` to uncalibrated logits `[B, num_classes]`.

    On speakers whom the encoder has not heard it is right as often as a perceptron of three layers where speakers are many
    (CREMA-D), and more often where they are few (RAVDESS).
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(POOLED_DIM, num_classes)
