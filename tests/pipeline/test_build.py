"""What the settings become: thresholds from the checkpoint where they say `auto`, and the info message."""

from types import SimpleNamespace

import pytest

from streamer.emotion.model import EmotionDetectionModel
from streamer.emotion.tracker import TrackerSettings
from streamer.errors import UsageError
from streamer.pipeline.build import describe, stream_settings
from streamer.settings import ModelConfig, Settings, TrackerConfig


@pytest.fixture(scope="module")
def model() -> EmotionDetectionModel:
    return EmotionDetectionModel.from_checkpoint("bundled")


def test_auto_takes_the_threshold_of_the_checkpoint(model: EmotionDetectionModel) -> None:
    assert model.card is not None
    settings = Settings()
    built = stream_settings(settings, model)
    threshold = model.card.calibration_for(settings.window.window_s).threshold
    usual = TrackerSettings.around(threshold)
    assert (built.rule.threshold, built.tracker.enter, built.tracker.exit) == (threshold, usual.enter, usual.exit)
    assert (built.labels, built.neutral_mean) == (model.labels, model.card.neutral_mean)
    assert (built.window_frames, built.hop_frames, built.hop_samples) == (225, 18, 5_760)


def test_what_the_settings_name_is_taken_instead(model: EmotionDetectionModel) -> None:
    settings = Settings(model=ModelConfig(threshold=0.6), tracker=TrackerConfig(enter=0.7, exit=0.2))
    built = stream_settings(settings, model)
    assert (built.rule.threshold, built.tracker.enter, built.tracker.exit) == (0.6, 0.7, 0.2)


def test_an_exit_above_the_checkpoints_enter_is_refused(model: EmotionDetectionModel) -> None:
    with pytest.raises(UsageError, match=r"\[tracker\]: exit"):
        stream_settings(Settings(tracker=TrackerConfig(exit=0.99)), model)


def test_the_info_lists_streams_and_those_with_a_profile_in_their_order(model: EmotionDetectionModel) -> None:
    info = describe(
        Settings(), SimpleNamespace(model=model, device="cpu"), ("hall", "desk", "door"), {"door", "hall", "gone"}
    )
    assert (info.streams, info.calibrated) == (("hall", "desk", "door"), ("hall", "door"))
    assert (info.labels, info.model_sha256, info.hop_s) == (model.labels, model.sha256, 0.24)
    assert (info.torch_device, info.heartbeat_s, info.health_s) == ("cpu", 10.0, 30.0)
    assert info.threshold is not None
    usual = TrackerSettings.around(info.threshold)
    assert (info.enter, info.exit) == (usual.enter, usual.exit)
