"""What moves a student's weights: all that learn, each once."""

from collections import Counter

import pytest
import torch

from streamer.emotion.labels import LABELS
from streamer.training.optim import cosine_with_warmup, optimizers_for
from streamer.training.recipe import Recipe
from streamer.training.student import Student, initial_model
from streamer.training.tune import Tune


@pytest.mark.parametrize("tune", ["head", "upper", "deep", "all"])
def test_every_weight_that_learns_is_moved_by_one_optimizer(tune: Tune) -> None:
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
