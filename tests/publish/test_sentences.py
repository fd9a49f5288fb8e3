"""Plain sentences: one for each change, and none for what changes nothing."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

from streamer.events import Health, Status, Window
from streamer.publish.jsonlines import JsonLines
from streamer.publish.sentences import MEANINGS, STEADY_S, Sentences
from tests.support.event_samples import INFO, health, state, transition, window


def health_at(status: Status, moment: float) -> Health:
    return replace(health(status), time=moment)


def window_at(moment: float) -> Window:
    return replace(window(), time=moment)


def test_every_status_word_is_explained() -> None:
    assert set(MEANINGS) >= set(get_args(Status))


def test_an_emotion_that_begins_and_ends_is_two_sentences() -> None:
    say = Sentences()
    started = replace(transition(0), stream="desk", label="angry", confidence=0.81)
    ended = replace(transition(1), stream="desk", label="angry", duration_s=6.0)
    assert say(started).endswith(" desk: angry, 81% sure.")
    assert say(ended).endswith(" desk: angry is over after 6 seconds.")


def test_the_streams_are_named_once() -> None:
    say, info = Sentences(), replace(INFO, model="bundled-8", streams=("desk", "door"))
    assert say(info) == "bundled-8 listens to desk and door."
    assert say(info) == ""
    assert say(replace(info, streams=("desk",))) == "bundled-8 listens to desk."


def test_trouble_is_said_at_once_and_once() -> None:
    say = Sentences()
    assert say(health_at("mic lost", 100.0)).endswith(" desk: mic lost, the microphone is gone.")
    assert say(health_at("mic lost", 130.0)) == ""


def test_a_pause_between_words_is_no_change() -> None:
    say, said = Sentences(), []
    for moment, status in ((0.0, "live"), (3.0, "silence"), (3.5, "live"), (8.0, "silence")):
        said.append(say(health_at(status, moment)))
        said += [say(window_at(moment + tick * 0.24)) for tick in range(int(STEADY_S / 0.24) - 7)]
    said.append(say(window_at(8.0 + STEADY_S)))
    assert [text.partition(": ")[2] for text in said if text] == ["silence, nobody speaks."]


def test_no_sentence_holds_more_than_plain_text() -> None:
    say = Sentences()
    said = [say(event) for event in (INFO, window(), state(), transition(0), transition(1), health("mic lost"))]
    assert any(said)
    assert all(text == "" or (text.isascii() and text.endswith(".") and "\n" not in text) for text in said)


def test_an_event_without_a_sentence_prints_no_line(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("w") as stream:
        lines = JsonLines(stream, wait=True, render=Sentences())
        lines.start()
        for event in (window(), health_at("no device", 5.0)):
            lines.publish(event)
        lines.close()
    assert path.read_text().count("\n") == 1
