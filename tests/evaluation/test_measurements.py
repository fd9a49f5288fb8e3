"""The list of optional measurements."""

from dataclasses import fields

import pytest

from streamer.evaluation.measurements import MEASUREMENTS
from streamer.evaluation.options import EvaluationOptions
from streamer.evaluation.results import CorpusResult, Evaluation

NONE = {
    "streams": 0, "live_clips": 0, "voices": False, "peers": False, "robustness_clips": 0, "noise_minutes": 0.0,
    "precisions": False,
}  # fmt: skip


def wanted(**changed: object) -> list[str]:
    options = EvaluationOptions(**(NONE | changed))  # type: ignore[arg-type]
    return [measurement.name for measurement in MEASUREMENTS if measurement.wanted(options)]


def test_every_measurement_fills_a_field_of_the_results() -> None:
    names = [measurement.name for measurement in MEASUREMENTS]
    assert len(set(names)) == len(names)
    assert set(names) < {field.name for field in (*fields(Evaluation), *fields(CorpusResult))}


@pytest.mark.parametrize(
    ("option", "value", "name"),
    [
        ("streams", 1, "streams"),
        ("natural", ("a.wav",), "natural"),
        ("foreign", ("corpus",), "foreign"),
        ("live_clips", 1, "live"),
        ("voices", True, "calibrated"),
        ("peers", True, "peers"),
        ("robustness_clips", 1, "robustness"),
        ("noise_minutes", 0.1, "false_alarms"),
        ("without_voice", ("a.wav",), "false_alarms"),
        ("precisions", True, "precisions"),
    ],
)
def test_each_option_switches_its_own_measurement_on(option: str, value: object, name: str) -> None:
    assert wanted() == []
    assert wanted(**{option: value}) == [name]
