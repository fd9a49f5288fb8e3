"""Array aliases that several packages share."""

from typing import Any

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.int64]
Samples = Float32Array  # mono audio, [T] or [B, T], at 24 kHz unless said otherwise
