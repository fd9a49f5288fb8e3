"""Name the parts of a model that are trained; imports no torch, so that the command line starts fast."""

from typing import Literal

# The head alone; the encoder's LSTM and what follows; from its 600 Hz layers on; everything.
Tune = Literal["head", "upper", "deep", "all"]
