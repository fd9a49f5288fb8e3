"""Every trained weight has one optimizer, and Muon steps as torch's own does."""

from collections import Counter

import pytest
import torch

from streamer.emotion.labels import LABELS
from streamer.training.optim import Muon, cosine_with_warmup, optimizers_for, orthogonalized
from streamer.training.recipe import Recipe
from streamer.training.student import Student, initial_model
from streamer.training.tune import Tune


@pytest.mark.parametrize("tune", ["head", "upper", "deep", "all"])
def test_every_trained_weight_has_exactly_one_optimizer(tune: Tune) -> None:
    student = Student(initial_model("random", len(LABELS)), 128, 2, tune)
    recipe = Recipe(tune=tune, learning_rate=1e-3, encoder_learning_rate=1e-4)
    peaks = {
        id(parameter): group["peak"]
        for optimizer in optimizers_for(student, recipe, torch.float32)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    moved = Counter(
        id(parameter)
        for optimizer in optimizers_for(student, recipe, torch.float32)
        for group in optimizer.param_groups
        for parameter in group["params"]
    )
    assert moved == {id(parameter): 1 for parameter in student.parameters() if parameter.requires_grad}
    assert {peaks[id(parameter)] for parameter in student.encoder_parameters()} <= {1e-4}
    assert {peaks[id(parameter)] for parameter in student.other_parameters()} == {1e-3}


def test_norms_and_biases_do_not_decay() -> None:
    student = Student(initial_model("random", len(LABELS)), 128, 2, "deep")
    for optimizer in optimizers_for(student, Recipe(weight_decay=0.05), torch.float32):
        for group in optimizer.param_groups:
            assert {parameter.dim() > 1 for parameter in group["params"]} == {group["weight_decay"] > 0}


def test_an_encoder_s_matrices_and_kernels_go_to_muon() -> None:
    student = Student(initial_model("random", len(LABELS)), 128, 2, "deep")
    adam, muon = optimizers_for(student, Recipe(), torch.float32)
    assert isinstance(adam, torch.optim.AdamW)
    weights = {id(weight) for weight in student.encoder_parameters() if weight.dim() > 1}
    assert {id(parameter) for group in muon.param_groups for parameter in group["params"]} == weights


def test_the_rate_rises_over_the_first_steps_and_falls_to_its_last_share() -> None:
    assert [cosine_with_warmup(step, 4, 0.0, 0.1) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert cosine_with_warmup(100, 4, 0.5, 0.1) == pytest.approx(0.55)
    assert cosine_with_warmup(100, 4, 1.0, 0.1) == cosine_with_warmup(100, 4, 7.0, 0.1) == pytest.approx(0.1)


@pytest.mark.parametrize("shape", [(8, 8), (16, 6), (6, 16), (1, 5)])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_singular_values_come_near_one_and_their_vectors_stay(shape: tuple[int, int], scale: float) -> None:
    matrix = scale * torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.t() @ orthogonalized(matrix) @ right.t()  # diagonal where the vectors stayed
    torch.testing.assert_close(turned, turned.diagonal().diag(), atol=1e-8, rtol=0)
    told = values / values.norm() > 1e-2  # smaller ones do not grow to 1 in five iterations
    assert ((turned.diagonal() > 0.6) & (turned.diagonal() < 1.3))[told].all()


def test_a_gradient_of_zeros_changes_nothing() -> None:
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
def test_a_kernel_is_updated_as_a_matrix_with_a_row_for_each_channel(shape: tuple[int, ...]) -> None:
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(4))
    kernel, matrix = (torch.nn.Parameter(torch.ones(like.shape)) for like in (gradient, gradient.flatten(1)))
    kernel.grad, matrix.grad = gradient, gradient.flatten(1)
    for parameter in (kernel, matrix):
        Muon([{"params": [parameter]}], lr=0.01).step()
    assert torch.equal(kernel.flatten(1), matrix)


def test_muon_resumes_from_its_state_bit_for_bit() -> None:
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
    with pytest.raises(ValueError, match=r"updates matrices; got a parameter of shape \[3\]"):
        Muon([{"params": [torch.nn.Parameter(torch.zeros(3))]}])
