"""The help screen: the keys, the status words and a legend of the panels."""

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from streamer.dashboard.view import NOT_SENT, STATUS_MARKS, UNKNOWN
from streamer.events import Status

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
        "Bars show smoothed probabilities, ┃ the newest window alone, ▶ the current label. The order never changes.",
    ),
    (
        "Timeline",
        "One lane per label, taller where the confidence was higher. Gaps: silence or low confidence. ┊ lost audio.",
    ),
    ("voice profile", "Beside the model: this stream is compared with a profile of the speaker's neutral voice."),
    ("Attention", "Attention weights over the newest window, oldest left. Half height is an even share of the weight."),
    ("overflow", "Times the sound system lost audio before the program got it; the amount is unknown."),
    ("dropped", "Samples overwritten before they were processed."),
    ("skipped", "Windows left out in order to catch up."),
    (UNKNOWN, "Not known yet."),
    (NOT_SENT, "The broker does not carry this figure."),
)


class HelpScreen(ModalScreen[None]):
    """Shows the keys and the legend; any of its keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter", "dismiss", "close", tooltip="Back to the dashboard"),
    ]

    def __init__(self, keys: Iterable[tuple[str, str]]) -> None:
        super().__init__()
        self._keys = list(keys)

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_title = "Help"
            dialog.border_subtitle = "↑ ↓ scroll · esc closes"
            yield _heading("Keys")
            yield from (_entry(key, purpose) for key, purpose in self._keys)
            yield _heading("States")
            yield from (_entry(f"{STATUS_MARKS[status][0]} {status}", meaning) for status, meaning in STATES)
            yield _heading("How to read it")
            yield from (_entry(name, meaning) for name, meaning in READING)


def _heading(text: str) -> Static:
    return Static(text, classes="heading")


def _entry(name: str, meaning: str) -> Horizontal:
    return Horizontal(
        Static(name, classes="name", markup=False), Static(meaning, classes="meaning", markup=False), classes="entry"
    )
