"""CPU engine of the streaming encoder: `pack`, `matmul`, `lstm`, `elu` and `selftest`.

It may import torch and numpy, for the layers are built on it; nothing outside `codec` needs to know it. Invariants: in
float32 it computes what plain torch computes, up to the order of summation; a private torch operator is used only after
its self-test passed in this process; weights are copied when packed, so later changes to a module have no effect.

- `pack`: selects the fastest kernel for each layer and packs the weight for it.
- `matmul`: matrix products and convolutions with a constant weight, by BLAS or oneDNN.
- `lstm`: LSTMs with constant weights, by oneDNN, MKL, BLAS or torch's 8-bit operators.
- `elu`: ELU into a fixed buffer, by numpy's vectorised expm1 where there is one.
- `selftest`: checks the private torch operators once per process; `codec/README.md` lists them.
"""
