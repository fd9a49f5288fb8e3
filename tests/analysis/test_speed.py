"""The comparison with a script written by hand is one of seconds of sound for seconds of a clock."""

from itertools import count

import pytest

from streamer.analysis import speed


def test_the_speeds_are_seconds_of_sound_by_seconds_of_the_clock(monkeypatch):
    monkeypatch.setattr(speed, "HAND_BATCHES", (1, 2))
    monkeypatch.setattr(speed, "HAND_SECONDS", 0.1)
    monkeypatch.setattr(speed, "CLIP_SECONDS", (0.1, 0.1))
    ticks = count()
    measured = speed.measure_embed_speed(clips=4, rounds=0, clock=lambda: float(next(ticks)))
    assert measured.embed == pytest.approx(0.4)  # 4 clips of 0.1 s in one tick
    assert measured.by_hand == pytest.approx({1: 0.2, 2: 0.2})  # half as many, in one tick
    assert measured.share == pytest.approx(2)
