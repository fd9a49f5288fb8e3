from dataclasses import replace

import pytest

from streamer.dashboard.drawing import line_width
from streamer.dashboard.widgets.streams import strip_line
from streamer.events import Status
from streamer.feed.interpret import current_label
from tests.dashboard.lines import DESK, text
from tests.dashboard.scripted_feed import LABELS


@pytest.mark.parametrize("chosen", [0, 3, 7])
def test_the_chosen_stream_is_always_in_the_strip(chosen: int) -> None:
    streams = tuple(replace(DESK, name=f"stream-{i}") for i in range(8))
    line = strip_line(streams, f"stream-{chosen}", LABELS, 50)
    assert f"stream-{chosen}" in text(line)
    assert line_width(line) <= 50


@pytest.mark.parametrize("status", ["paused", "no device", "mic lost", "source lost", "no signal", "starting", "ended"])
def test_a_stream_without_audio_shows_no_label(status: Status) -> None:
    quiet = replace(DESK, status=status)
    assert current_label(DESK) == "angry"
    assert current_label(quiet) is None
    assert "angry" not in text(strip_line((quiet, DESK), "desk", LABELS, 80)).split("desk")[1]
