"""Timestamps that say that audio was lost, and those that only jitter."""

import numpy as np

from streamer.audio.timestamps import Timestamps


def breaks(format_name: str, times: list[float], length_s: float = 0.02) -> list[int]:
    """The numbers of the frames that do not follow the one before."""
    stamps = Timestamps(format_name)
    return [number for number, time_s in enumerate(times) if stamps.breaks(time_s, length_s)]


def test_a_lost_packet_of_rtp_is_noticed() -> None:
    times = [0.02 * k for k in range(100) if k != 50]
    assert breaks("rtsp", times) == [50]
    assert breaks("rtsp", [0.01 * k for k in range(100) if k != 50], 0.01) == [50]


def test_frames_without_timestamps_follow_each_other() -> None:
    stamps = Timestamps("rtsp")
    assert not any(stamps.breaks(None, 0.02) for _ in range(10))


def test_a_camera_whose_timestamps_jitter_is_not_cut_to_pieces() -> None:
    jitter = np.random.default_rng(3).uniform(-0.01, 0.01, 1000)
    found = breaks("rtsp", [0.02 * k + float(jitter[k]) for k in range(1000)])
    assert len(found) <= 3  # until the first steps back have shown it


def test_a_loss_of_seconds_is_noticed_in_spite_of_jitter() -> None:
    jitter = np.random.default_rng(3).uniform(-0.01, 0.01, 1000)
    times = [0.02 * k + float(jitter[k]) + (2.0 if k >= 500 else 0.0) for k in range(1000)]
    assert 500 in breaks("rtsp", times)


def test_a_stream_that_begins_again_is_a_break() -> None:
    assert breaks("rtsp", [100.0, 100.02, 0.0, 0.02]) == [2]


def test_over_connections_that_lose_nothing_only_large_jumps_count() -> None:
    times = [0.02 * k for k in range(100)]
    assert breaks("hls", [times[0], *(t - 0.02 for t in times[1:50]), *times[50:]]) == []
    assert breaks("hls", [t + (6.0 if t > 1.0 else 0.0) for t in times]) == [51]


def test_the_first_second_of_ogg_says_nothing() -> None:
    assert breaks("ogg", [0.0, 0.02, *(500.0 + 0.02 * k for k in range(10))]) == []
    assert breaks("ogg", [0.02 * k + (6.0 if k > 80 else 0.0) for k in range(100)]) == [81]
