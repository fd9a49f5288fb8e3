"""The torch device is chosen by what this machine has."""

import pytest
import torch

from streamer.codec.device import choose_device, upload
from streamer.errors import UsageError


def machine(monkeypatch, *, gpus=0, mps=False):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(("gpus", "mps", "chosen"), [(1, True, "cuda"), (0, True, "mps"), (0, False, "cpu")])
def test_auto_prefers_cuda_then_mps_then_the_cpu(monkeypatch, gpus, mps, chosen):
    machine(monkeypatch, gpus=gpus, mps=mps)
    assert choose_device("auto") == chosen


@pytest.mark.parametrize(
    ("wanted", "cure"), [("cuda", "no CUDA GPU"), ("mps", "no Apple GPU"), ("cuda:0", "no CUDA GPU")]
)
def test_a_device_that_is_missing_is_refused_with_the_cure(monkeypatch, wanted, cure):
    machine(monkeypatch)
    with pytest.raises(UsageError, match=f"{cure}.*--device auto or cpu"):
        choose_device(wanted)


def test_a_gpu_beyond_the_last_is_refused_with_how_many_there_are(monkeypatch):
    machine(monkeypatch, gpus=2)
    assert choose_device("cuda:1") == "cuda:1"
    with pytest.raises(UsageError, match=r"2 CUDA GPU\(s\), numbered from cuda:0"):
        choose_device("cuda:2")


def test_values_that_need_no_copy_are_returned_as_they_are():
    values = torch.ones(3)
    assert upload(values, torch.device("cpu")) is values
    assert upload(values, torch.device("cpu"), torch.float64).dtype == torch.float64
