from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from streamer.constants import SAMPLE_RATE
from streamer.errors import UsageError
from streamer.training.teacher import (
    BASE,
    TINY,
    Projection,
    WhisperTeacher,
    at_student_frames,
    mel_filters,
    slow,
)


@pytest.fixture(scope="module")
def teacher() -> WhisperTeacher:
    torch.manual_seed(0)
    return WhisperTeacher()


@pytest.mark.parametrize(("seconds", "frames"), [(0.01, 1), (0.02, 1), (1.0, 50), (1.05, 53), (31.0, 1500)])
def test_the_teacher_outputs_fifty_frames_a_second_up_to_half_a_minute(
    teacher: WhisperTeacher, seconds: float, frames: int
) -> None:
    audio = np.random.default_rng(0).standard_normal(int(seconds * SAMPLE_RATE)).astype(np.float32)
    features = teacher.features(audio)
    assert features.shape == (frames, 2 * TINY.width)
    assert np.isfinite(features).all()


def test_features_do_not_depend_on_the_level_of_a_recording(teacher: WhisperTeacher) -> None:
    audio = np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32)
    assert np.allclose(teacher.features(audio), teacher.features(audio * 0.01), atol=1e-3)


def test_silence_has_features_too(teacher: WhisperTeacher) -> None:
    assert np.isfinite(teacher.features(np.zeros(SAMPLE_RATE, dtype=np.float32))).all()


def test_the_teacher_comes_from_a_file_of_its_weights(teacher: WhisperTeacher, tmp_path: Path) -> None:
    save_file({name: tensor.half() for name, tensor in teacher.state_dict().items()}, tmp_path / "t.safetensors")
    loaded = WhisperTeacher.load(tmp_path / "t.safetensors")
    audio = torch.randn(8000, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(loaded(audio), teacher(audio), atol=0.05)


def test_a_file_of_other_weights_is_no_teacher(tmp_path: Path) -> None:
    save_file({"conv1.weight": torch.zeros(3)}, tmp_path / "t.safetensors")
    with pytest.raises(UsageError, match="does not hold"):
        WhisperTeacher.load(tmp_path / "t.safetensors")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(UsageError, match="no safetensors file"):
        WhisperTeacher.load(tmp_path / "text")


def test_the_multilingual_teacher_is_told_by_its_width_and_its_lower_layers_are_enough(tmp_path: Path) -> None:
    torch.manual_seed(0)
    lower = WhisperTeacher(BASE)
    weights = {name: tensor.clone() for name, tensor in lower.state_dict().items()}
    upper = {f"layers.{number}.fc1.bias": torch.zeros(4 * BASE.width) for number in (4, 5)}
    save_file(weights | upper | {"layer_norm.weight": torch.ones(BASE.width)}, tmp_path / "base.safetensors")
    loaded = WhisperTeacher.load(tmp_path / "base.safetensors")
    audio = torch.randn(8000, generator=torch.Generator().manual_seed(1))
    assert loaded.anatomy is BASE
    assert loaded(audio).shape == (25, BASE.width)
    assert torch.equal(loaded(audio), lower(audio))


def test_parked_frames_describe_no_sound() -> None:
    assert BASE.parked is not None
    features = np.random.default_rng(0).standard_normal((50, BASE.features)).astype(np.float32)
    features[[3, 20], BASE.parked] = -300
    sound = WhisperTeacher(BASE).describes_sound(features)
    assert np.flatnonzero(~sound).tolist() == [3, 20]
    features[:, BASE.parked] = -300
    assert WhisperTeacher(BASE).describes_sound(features).any()  # a clip has features, whatever it is


def test_what_is_parked_is_in_no_mean() -> None:
    features = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
    counted = np.ones(60, dtype=np.bool_)
    counted[[0, 2, 25, 26]] = False
    features[~counted] = 1e6
    means = slow(features, counted)
    assert np.abs(means).max() < 10
    assert np.allclose(means[30], features[20:41][counted[20:41]].mean(axis=0), atol=1e-5)


def test_a_frame_with_nothing_around_it_gets_the_nearest_mean() -> None:
    features = np.ones((100, 1), dtype=np.float32)
    counted = np.arange(100) >= 60
    features[~counted] = 1e6
    assert np.allclose(slow(features, counted), 1.0)


def test_the_encoder_is_taken_out_of_a_whole_whisper(teacher: WhisperTeacher, tmp_path: Path) -> None:
    tensors = {f"model.encoder.{name}": tensor.clone() for name, tensor in teacher.state_dict().items()}
    save_file(tensors | {"model.decoder.layer_norm.weight": torch.zeros(3)}, tmp_path / "whole.safetensors")
    loaded = WhisperTeacher.load(tmp_path / "whole.safetensors").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in teacher.state_dict().items())


def test_a_tone_lands_in_the_mel_filter_around_it_and_all_filters_have_unit_area() -> None:
    filters = mel_filters()
    assert filters.shape == (80, 201)
    bins_hz = np.linspace(0, 8000, 201)
    # 1 kHz is 15 mels, where the scale turns logarithmic; 8 kHz is 15 + 27 ln(8) / ln(6.4) = 45.25. The filters'
    # middles are the 80 inner points of 82 between 0 and 45.25.
    for frequency_hz, mel in ((400, 6.0), (1000, 15.0), (6400, 42.0)):
        answers = filters[:, np.abs(bins_hz - frequency_hz).argmin()]
        assert answers.argmax() == pytest.approx(mel / 45.245 * 81 - 1, abs=0.6)
    wide = filters[40:]  # narrower ones hold few bins
    assert wide.sum(axis=1) * 40 == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("start_s", "pace"), [(0.0, 1.0), (0.4, 1.0), (0.4, 1.1)])
def test_targets_are_delayed_and_at_the_student_s_frame_rate(start_s: float, pace: float) -> None:
    teacher_times_s = (np.arange(200) + 0.5) / 50
    said = at_student_frames(teacher_times_s[:, None].astype(np.float32), 100, 0.12, start_s, pace)[:, 0]
    wanted = start_s + pace * ((np.arange(100) + 0.5) / 75 - 0.12)
    inside = (wanted > teacher_times_s[0]) & (wanted < teacher_times_s[-1])
    assert inside.sum() > 80
    assert said[inside] == pytest.approx(wanted[inside], abs=1e-4)
    assert (said[wanted <= teacher_times_s[0]] == teacher_times_s[0].astype(np.float32)).all()


@pytest.mark.parametrize("frames", [1, 2, 3, 40])
def test_the_slow_features_of_constant_features_are_the_same(frames: int) -> None:
    features = np.tile(np.array([1.0, -2.0], dtype=np.float32), (frames, 1))
    assert np.allclose(slow(features), features, atol=1e-6)


def test_slowness_is_the_mean_around_a_frame_without_the_first_two() -> None:
    features = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
    features[:2] = 1e6
    assert np.allclose(slow(features)[30], features[20:41].mean(axis=0), atol=1e-5)
    assert np.abs(slow(features)).max() < 10


def test_components_are_uncorrelated_and_of_unit_mean_variance() -> None:
    rng = np.random.default_rng(0)
    features = (rng.standard_normal((2000, 10)) @ rng.standard_normal((10, 10)) + 5).astype(np.float32)
    components = Projection.fit(features, 4)(features)
    covariance = np.cov(components.T)
    assert components.mean(axis=0) == pytest.approx(0, abs=1e-3)
    assert np.diag(covariance).mean() == pytest.approx(1, rel=1e-2)
    assert np.diag(covariance)[0] > np.diag(covariance)[-1]
    assert covariance - np.diag(np.diag(covariance)) == pytest.approx(0, abs=1e-3)
