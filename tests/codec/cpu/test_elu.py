"""ELU by numpy equals ELU by torch."""

import sys

import pytest
import torch
import torch.nn.functional as F

from streamer.codec.cpu import elu
from streamer.codec.cpu.elu import Elu

EDGES = torch.tensor([0.0, -0.0, -1e-9, -1e-38, -100.0, 100.0, float("inf"), -float("inf"), float("nan")])


@pytest.fixture(params=["selected", "torch"])
def engine(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(elu, "numpy_is_faster", lambda: False)


def scratch_for(out):
    return torch.empty_like(out, dtype=torch.float32) if out.dtype == torch.bfloat16 else None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("values", [len(EDGES), 100, 20_000])
def test_elu_equals_torchs(values, dtype, engine):
    x = (3 * torch.randn(values)).to(dtype)
    x[: len(EDGES)] = EDGES.to(dtype)
    before, out = x.clone(), torch.full_like(x, 7)
    assert Elu(out, scratch_for(out))(x) is out
    last_bit = {torch.float32: 2**-22, torch.bfloat16: 2**-8}.get(
        dtype, 0
    )  # half way between two numbers both are right
    torch.testing.assert_close(out, F.elu(x), rtol=last_bit, atol=0, equal_nan=True)
    torch.testing.assert_close(x, before, rtol=0, atol=0, equal_nan=True)


def test_out_may_lie_in_a_larger_buffer_and_x_elsewhere_in_another_order(engine):
    x = torch.randn(6, 5, 3).transpose(0, 1)  # [5, 6, 3]
    buffer = torch.zeros(5, 8, 3)
    Elu(buffer[:, 2:])(x)
    torch.testing.assert_close(buffer[:, 2:], F.elu(x))
    assert not buffer[:, :2].any()


def test_an_older_numpy_is_not_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy.lib.introspect", None)
    assert not elu.numpy_is_faster.__wrapped__()


@pytest.mark.parametrize(("current", "faster"), [("X86_V4", True), ("AVX512_SKX", True), ("baseline(X86_V2)", False)])
def test_numpy_is_used_where_expm1_is_vectorised(current, faster, monkeypatch):
    def report(**_):
        return {"expm1": {"ff": {"current": current, "available": "AVX512_SKX baseline"}}}

    monkeypatch.setattr("numpy.lib.introspect.opt_func_info", report)
    assert elu.numpy_is_faster.__wrapped__() is faster
