"""Muon moves all directions of a matrix alike, and as torch's own does."""

import pytest
import torch

from streamer.training.optim import Muon, orthogonalized


@pytest.mark.parametrize("shape", [(8, 8), (16, 6), (6, 16), (1, 5)])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_singular_values_come_near_one_and_their_vectors_stay(shape: tuple[int, int], scale: float) -> None:
    matrix = scale * torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.t() @ orthogonalized(matrix) @ right.t()  # diagonal where the vectors stayed
    torch.testing.assert_close(turned, turned.diagonal().diag(), atol=1e-8, rtol=0)
    told = values / values.norm() > 1e-2  # smaller ones do not grow to 1 in five iterations
    assert ((turned.diagonal() > 0.6) & (turned.diagonal() < 1.3))[told].all()


def test_nothing_is_moved_by_a_gradient_of_zeros() -> None:
    assert not orthogonalized(torch.zeros(4, 6)).any()


@pytest.mark.parametrize("shape", [(12, 5), (5, 12)])
def test_it_steps_as_torch_s_does(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(2)
    ours, theirs = (torch.nn.Parameter(torch.ones(shape)) for _ in range(2))
    group = {"lr": 0.01}
    optimizers = [
        Muon([{"params": [ours], **group}], weight_decay=0.05, dtype=torch.bfloat16),
        torch.optim.Muon([{"params": [theirs], **group}], weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
    ]
    for _ in range(3):
        ours.grad = torch.randn(shape, generator=generator)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=0)  # of 0.02 that each step moves


@pytest.mark.parametrize("shape", [(4, 3, 5), (12, 2, 3)])
def test_a_kernel_is_moved_as_a_matrix_with_a_row_for_each_channel(shape: tuple[int, ...]) -> None:
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(4))
    kernel, matrix = (torch.nn.Parameter(torch.ones(like.shape)) for like in (gradient, gradient.flatten(1)))
    kernel.grad, matrix.grad = gradient, gradient.flatten(1)
    for parameter in (kernel, matrix):
        Muon([{"params": [parameter]}], lr=0.01).step()
    assert torch.equal(kernel.flatten(1), matrix)


def test_it_goes_on_from_a_state_as_if_it_had_not_stopped() -> None:
    generator = torch.Generator().manual_seed(3)
    gradients = [torch.randn(4, 6, generator=generator) for _ in range(4)]

    def moved(parameter: torch.nn.Parameter, optimizer: Muon, some: list[torch.Tensor]) -> torch.Tensor:
        for gradient in some:
            parameter.grad = gradient
            optimizer.step()
        return parameter.detach().clone()

    whole = torch.nn.Parameter(torch.ones(4, 6))
    at_once = moved(whole, Muon([{"params": [whole]}]), gradients)
    first = torch.nn.Parameter(torch.ones(4, 6))
    stopped = Muon([{"params": [first]}])
    second = torch.nn.Parameter(moved(first, stopped, gradients[:2]))
    resumed = Muon([{"params": [second]}])
    resumed.load_state_dict(stopped.state_dict())
    assert torch.equal(moved(second, resumed, gradients[2:]), at_once)


def test_a_parameter_of_one_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match=r"moves matrices; got a parameter of shape \[3\]"):
        Muon([{"params": [torch.nn.Parameter(torch.zeros(3))]}])
