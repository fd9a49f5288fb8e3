"""Impossible options are refused with the cure."""

from pathlib import Path

import pytest

from streamer.errors import UsageError
from streamer.evaluation.options import EvaluationOptions


@pytest.mark.parametrize(("what", "cure"), [({"live_clips": -1}, "use 0"), ({"folds": 1}, "2 or more")])
def test_impossible_amounts_are_refused(what: dict[str, int], cure: str) -> None:
    with pytest.raises(UsageError, match=cure):
        EvaluationOptions(**what)  # type: ignore[arg-type]


def test_only_one_checkpoint_is_tested_under_holdout(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--protocol loso"):
        EvaluationOptions(also=(tmp_path / "other.safetensors",))
