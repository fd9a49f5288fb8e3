"""Weight norm, folded away: a weight stored as direction and length becomes the weight itself.

Salimans and Kingma, "Weight Normalization", 2016: w = g v / |v|, one length g per output channel.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

# (length, direction) as torch.nn.utils.weight_norm names them, and as torch.nn.utils.parametrizations.weight_norm does.
_LAYOUTS = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)


def fold_weight_norm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` with every normalised weight folded under its plain key, by the arithmetic of torch's weight norm."""
    folded = dict(weights)
    for length, direction in _LAYOUTS:
        for key in [key for key in weights if key.endswith(f".{length}")]:
            layer = key.removesuffix(length)
            if layer + direction in folded:
                folded[f"{layer}weight"] = torch._weight_norm(folded.pop(layer + direction), folded.pop(key), 0)
    return folded
