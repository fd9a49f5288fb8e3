"""How much of a model is trained; imports nothing heavy, so that the command line may use it."""

from typing import Literal

# The head alone; the encoder's LSTM and what follows; from its 600 Hz layers on; everything.
Tune = Literal["head", "upper", "deep", "all"]
