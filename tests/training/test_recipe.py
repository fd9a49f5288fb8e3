"""The recipe's JSON, and what is refused."""

import math
from dataclasses import replace
from typing import Any

import pytest

from streamer.errors import UsageError
from streamer.training.recipe import Recipe
from tests.training.small_run import QUICK


def test_a_recipe_comes_back_from_its_json() -> None:
    assert Recipe.from_json(QUICK.to_json()) == QUICK


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"tune": "some"}, "head, upper, deep or all"),
        ({"epochs": 0}, "epochs is 0"),
        ({"window_s": math.nan}, "window_s"),
        ({"start": "random"}, "tune all"),
        ({"start": "lower", "tune": "upper"}, "tune deep or all"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"mixup": -0.1}, "mixup -0.1"),
        ({"minutes": 0.0}, "minutes is 0"),
        ({"learning_rate": -1.0}, "learning_rate is -1"),
        ({"encoder_learning_rate": math.inf}, "encoder_learning_rate is inf"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        replace(QUICK, **change)


def test_a_second_teacher_is_kept_and_its_absence_leaves_the_names_of_cached_files_as_they_were() -> None:
    both = replace(QUICK, teacher="tiny.safetensors", second_teacher="base.safetensors")
    assert Recipe.from_json(both.to_json()) == both
    assert both.teachers == ("tiny.safetensors", "base.safetensors")
    assert "second_teacher" not in QUICK.to_json()


def test_a_second_teacher_needs_a_first() -> None:
    with pytest.raises(UsageError, match="second teacher without a first"):
        replace(QUICK, teacher=None, second_teacher="base.safetensors")
