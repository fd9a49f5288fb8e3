"""The help screen: the keys, the status words and a legend of the panels."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from streamer.dashboard.view import NOT_SENT, STATUS_MARKS, UNKNOWN
from streamer.events import Status
from streamer.plain_text import printable

STATES: tuple[tuple[Status, str], ...] = (
    ("starting", "The source is being opened."),
    ("warming", "The first window does not hold enough gapless audio yet."),
    ("live", "There is speech, and emotions are inferred."),
    ("silence", "There is no speech; no emotion is shown."),
    ("no signal", "The input is all zeros: the microphone is muted, or the system blocks access to it."),
    ("no device", "There is no such microphone; capture begins by itself when it is plugged in."),
    ("mic lost", "The device is gone; capture resumes by itself when it is back."),
    ("source lost", "A pipe or a network source delivers nothing; it resumes by itself."),
    ("behind", "The computer is too slow right now; windows are skipped and counted."),
    ("paused", "Capture is stopped, because you muted the stream."),
    ("ended", "The recording is over."),
)

READING = (
    (
        "Level",
        "█ loudness (RMS), ▒ newest peak, ┃ peak hold, ╎ noise floor; CLIP counts blocks at full scale.",
    ),
    (
        "Emotion",
        "Bars show smoothed probabilities, ┃ the newest window alone, ▶ the current label, ▷ one that is held from "
        "before, while nobody speaks. The order never changes.",
    ),
    (
        "Timeline",
        "One lane per label, taller where the confidence was higher. Gaps: silence or low confidence. ┊ lost audio, "
        "┃ the cursor.",
    ),
    ("leaning", "What is most probable while the model is not sure enough to claim an emotion."),
    ("voice profile", "Beside the model: this stream is compared with a profile of the speaker's neutral voice."),
    ("Attention", "Attention weights over the newest window, oldest left. Half height is an even share of the weight."),
    ("overflow", "Times the sound system lost audio before the program got it; the amount is unknown."),
    ("dropped", "Samples overwritten before they were processed."),
    ("skipped", "Windows left out in order to catch up."),
    ("gaps", "Seconds without audio: the device was away, or the program stopped. Muted time is not counted."),
    (UNKNOWN, "Not known yet."),
    (NOT_SENT, "The broker does not carry this figure."),
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What holds now, and is marked; None: there is no stream."""

    theme: str
    stream: str | None = None
    device: str | None = None
    status: Status | None = None


class HelpScreen(ModalScreen[None]):
    """Shows the keys and the legend, and marks what holds now; any of its keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter", "dismiss", "close", tooltip="Back to the dashboard"),
    ]

    def __init__(self, keys: Iterable[tuple[str, str]], chosen: Chosen) -> None:
        super().__init__()
        self._keys = list(keys)
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_title = "Help"
            dialog.border_subtitle = "↑ ↓ scroll · esc closes"
            yield _heading("Keys")
            yield from (_entry(key, purpose + self._now(key)) for key, purpose in self._keys)
            yield _heading("States")
            yield from (self._state(status, meaning) for status, meaning in STATES)
            yield _heading("How to read it")
            yield from (_entry(name, meaning) for name, meaning in READING)

    def _now(self, key: str) -> str:
        present = {"t": self._chosen.theme, "n": self._chosen.stream, "d": self._chosen.device}.get(key)
        return f" (now ● {printable(present)})" if present else ""

    def _state(self, status: Status, meaning: str) -> Horizontal:
        present = status == self._chosen.status
        entry = _entry(f"{STATUS_MARKS[status][0]} {status}", f"▶ now: {meaning}" if present else meaning)
        return entry.add_class("chosen") if present else entry


def _heading(text: str) -> Static:
    return Static(text, classes="heading")


def _entry(name: str, meaning: str) -> Horizontal:
    return Horizontal(
        Static(name, classes="name", markup=False), Static(meaning, classes="meaning", markup=False), classes="entry"
    )
