from dataclasses import replace

import pytest

from streamer.dashboard.drawing import line_width
from streamer.dashboard.widgets.header import Notice, message_lines, top_line
from streamer.events import STATUSES, State, Status
from tests.dashboard.lines import DESK, text, texts, view_of
from tests.dashboard.scripted_feed import LABELS, START


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_is_a_word_with_a_sign(status: Status) -> None:
    line = text(top_line(view_of(replace(DESK, status=status)), Notice(), 80))
    assert status.upper() in line
    assert line[line.index(status.upper()) - 2] not in " abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize("status", ["no signal", "no device", "mic lost", "source lost", "behind"])
def test_where_something_is_wrong_the_whole_cure_is_shown(status: Status) -> None:
    cure = "The input gives only zeros; allow this terminal the microphone under System Settings, Privacy, Microphone."
    lines = message_lines(view_of(replace(DESK, status=status, detail=cure)), Notice(), 60)
    assert " ".join(texts(lines).split())[2:] == cure


def test_a_muted_stream_claims_no_emotion() -> None:
    line = texts(message_lines(view_of(replace(DESK, status="paused")), Notice(), 80))
    assert "capture is stopped" in line
    assert not any(label in line for label in LABELS)


def test_the_header_shows_the_current_emotion_and_its_duration() -> None:
    assert texts(message_lines(view_of(), Notice(), 80)).split() == ["▌angry", "0.55", "for", "6", "s"]


@pytest.mark.parametrize("width", [20, 40, 60, 120])
def test_the_header_keeps_the_status_however_narrow(width: int) -> None:
    line = top_line(view_of(replace(DESK, device="A microphone with a very long name " * 3)), Notice(), width)
    assert line_width(line) == width
    assert "LIVE" in text(line)


def test_what_is_held_in_silence_is_said_to_be_held() -> None:
    (line,) = message_lines(view_of(replace(DESK, status="silence")), Notice(), 80)
    assert text(line).split() == ["no", "speech", "angry", "held", "from", "before,", "for", "6", "s"]
    assert {ink for part, ink in line if part.strip()} == {"muted"}


def test_an_unsure_model_says_what_it_leans_to_more_weakly_than_a_claim() -> None:
    state = State("desk", START, None, None, START, "sad", 0.374)
    (line,) = message_lines(view_of(replace(DESK, state=state)), Notice(), 80)
    assert text(line).strip() == "leaning sad 0.37"
    assert {ink for part, ink in line if part.strip()} == {"muted"}
    (claim,) = message_lines(view_of(), Notice(), 80)
    assert ("angry", "strong") in claim


def test_silence_has_no_leaning() -> None:
    state = State("desk", START, None, None, START)
    (line,) = message_lines(view_of(replace(DESK, state=state, status="silence")), Notice(), 80)
    assert text(line).strip() == "no speech"


def test_a_remark_on_the_voice_stands_beside_the_emotion() -> None:
    (line,) = message_lines(view_of(replace(DESK, familiarity="new")), Notice(), 80)
    assert text(line).endswith("getting to know the voice")
    assert "angry" in text(line)


@pytest.mark.parametrize("clips", [True, False])
def test_that_audio_is_kept_is_marked_on_every_stream(clips: bool) -> None:
    view = view_of()
    assert view.snapshot.info is not None
    kept = replace(view, snapshot=replace(view.snapshot, info=replace(view.snapshot.info, clips=clips)))
    assert ("KEEPS AUDIO" in text(top_line(kept, Notice(), 80))) is clips
