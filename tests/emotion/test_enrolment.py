"""Enrolment: the mean embedding of a speaker, and the seconds of speech behind it."""

import numpy as np
import pytest

from streamer.emotion.enrolment import Enrolment


def test_the_mean_and_scale_are_those_of_the_windows() -> None:
    windows = np.random.default_rng(0).standard_normal((40, 128))
    enrolment = Enrolment(wanted_s=5.0)
    for window in windows:
        enrolment.add(window.tolist(), speech=0.5, hop_s=0.24, rms_dbfs=-30.0)
    speech = enrolment.collected()
    assert speech.mean == pytest.approx(windows.mean(0).tolist())
    assert speech.scale == pytest.approx(windows.std(0).tolist())
    assert speech.level_dbfs == pytest.approx(-30.0)
    assert speech.windows == 40


def test_seconds_of_speech_are_the_share_of_speech_in_the_time_that_passed() -> None:
    enrolment = Enrolment(wanted_s=1.0)
    for speech in (1.0, 1.0, 0.5, 0.5, 1.0):
        assert not enrolment.collected().enough
        enrolment.add((0.0,) * 128, speech, hop_s=0.25, rms_dbfs=-20.0)
    assert enrolment.collected().voice_s == pytest.approx(1.0)
    assert enrolment.collected().enough


def test_an_enrolment_without_speech_has_figures_all_the_same() -> None:
    speech = Enrolment().collected()
    assert (speech.voice_s, speech.windows, speech.level_dbfs) == (0.0, 0, -120.0)
    assert set(speech.mean) == set(speech.scale) == {0.0}
