"""The number formats that the CPU engine can compute in; imports nothing heavy, so that the command line may use it."""

from typing import Literal, get_args

Precision = Literal["float32", "bfloat16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
