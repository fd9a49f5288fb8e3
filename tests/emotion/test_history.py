"""Running means: what a stream has said so far, forgotten slowly, apart from all other streams."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from streamer.constants import POOLED_DIM
from streamer.emotion.card import StreamHistory
from streamer.emotion.history import RunningMeans
from streamer.emotion.model import Classifier, EmotionDetectionModel
from streamer.emotion.stream_classifier import StreamClassifier

RULE = StreamHistory(
    mean=(1.0,) * POOLED_DIM, spread=(0.5,) * POOLED_DIM, prior_s=10.0, memory_s=100.0,
    log_temperature_offset=-0.5, log_temperature_slope=0.5, unfamiliar=2.0,
)  # fmt: skip
CPU = torch.device("cpu")


def windows(*values: float) -> torch.Tensor:
    """`[N, 640]`, each window of one value."""
    return torch.tensor(values)[:, None].expand(-1, POOLED_DIM).clone()


def test_a_history_begins_at_the_training_streams_mean_and_moves_to_what_is_heard() -> None:
    means = RunningMeans(RULE, 1, CPU)
    assert means.shifts([0]).abs().max() == 0
    means.add([0], windows(4.0), [10.0])
    assert means.shifts([0])[0, 0].item() == pytest.approx(10 * 3.0 / (10 + 10))  # as much speech as the prior weighs
    assert means.heard_s(0) == 10.0


def test_older_speech_is_forgotten() -> None:
    means = RunningMeans(RULE, 1, CPU)
    means.add([0], windows(4.0), [10.0])
    means.add([0], windows(1.0), [50.0])
    kept = math.exp(-0.5)
    assert means.shifts([0])[0, 0].item() == pytest.approx(kept * 30.0 / (10 + kept * 10 + 50), rel=1e-5)
    assert means.heard_s(0) == 60.0


def test_rows_do_not_touch_each_other_and_stay_when_the_batch_grows() -> None:
    means = RunningMeans(RULE, 2, CPU)
    means.add([1], windows(3.0), [10.0])
    means.grow(4)
    assert means.shifts([3, 1, 0])[:, 0].tolist() == [0.0, 1.0, 0.0]
    means.forget(1)
    assert means.shifts([1]).abs().max() == 0
    assert means.heard_s(1) == 0


def test_a_calibrated_voice_is_where_its_history_begins() -> None:
    means = RunningMeans(RULE, 1, CPU)
    means.set_voice(0, (2.0,) * 128)
    shift = means.shifts([0])[0]
    assert shift[:128].tolist() == [2.0] * 128
    assert shift[128:].abs().max() == 0, "a profile knows of attentive means alone"
    means.add([0], windows(1.0), [10.0])
    assert means.shifts([0])[0, 0].item() == pytest.approx(1.0)  # half of what is known is the profile
    means.forget(0)
    assert means.shifts([0])[0, 0].item() == 2.0, "the profile is the stream's, whatever it has heard"


def test_the_temperature_grows_with_the_distance_and_is_never_below_one() -> None:
    means = RunningMeans(RULE, 2, CPU)
    means.add([1], windows(5.0), [10.0])  # a shift of 2: four deviations
    distances = means.distances(means.shifts([0, 1]))
    assert distances.tolist() == [0.0, 4.0]
    assert means.temperatures(distances).tolist() == pytest.approx([1.0, math.exp(1.5)])


@pytest.fixture(scope="module")
def model() -> EmotionDetectionModel:
    torch.manual_seed(0)
    return EmotionDetectionModel(num_classes=8).eval()


def test_without_a_history_windows_are_classified_on_their_own(model: EmotionDetectionModel) -> None:
    classifier, pooled = StreamClassifier(model, 1), windows(0.5)
    before, _ = classifier.classify(pooled, [0])
    classifier.remember([0], windows(9.0), [30.0])
    assert torch.equal(classifier.classify(pooled, [0])[0], before)
    assert classifier.familiarity(0, 99.0) is None


def test_a_window_is_seen_by_what_was_heard_before_it(model: EmotionDetectionModel) -> None:
    model.history = replace(RULE, log_temperature_slope=0.0)
    classifier, pooled = StreamClassifier(model, 1), windows(3.0)
    with torch.no_grad():
        first, _ = classifier.classify(pooled, [0])
        assert torch.equal(first, model.classify(pooled)), "the first one is a clip on its own"
        classifier.remember([0], windows(3.0), [10.0])  # the mean is 2 now, one above the training streams'
        both = (model.classify(pooled) + model.classify(windows(2.0))) / 2  # as much speech as the prior weighs
        torch.testing.assert_close(classifier.classify(pooled, [0])[0], both)
        classifier.forget(0)
        assert torch.equal(classifier.classify(pooled, [0])[0], first)


@pytest.mark.parametrize(
    ("heard_s", "distance", "familiarity"),
    [(0.0, 0.0, "new"), (9.9, 5.0, "new"), (10.0, 1.9, "known"), (10.0, 2.1, "unfamiliar")],
)
def test_a_stream_is_new_until_it_weighs_more_than_the_prior(
    model: EmotionDetectionModel, heard_s: float, distance: float, familiarity: str
) -> None:
    model.history = RULE
    classifier = StreamClassifier(model, 1)
    classifier.remember([0], windows(1.0), [heard_s])
    assert classifier.familiarity(0, distance) == familiarity


def test_a_classifier_of_streams_counts_the_more_the_more_was_heard(model: EmotionDetectionModel) -> None:
    listening = copy.copy(model)
    listening.history = replace(RULE, log_temperature_slope=0.0, memory_s=1e9)
    listening.stream_classifier = Classifier(8)
    classifier, pooled = StreamClassifier(listening, 1), windows(1.0)
    with torch.no_grad():
        for heard_s, belief in ((0.0, 0.0), (10.0, 0.5), (80.0, 0.9)):
            classifier.remember([0], windows(1.0), [heard_s])
            alone, streamed = listening.classifier(pooled), listening.stream_classifier(pooled)
            expected = (1 - belief) * alone + belief * streamed
            torch.testing.assert_close(classifier.classify(pooled, [0])[0], expected)
