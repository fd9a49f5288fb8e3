"""The help screen: the keys, and how to read what is shown."""

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
    ("warming", "The first window is not full of gapless audio yet."),
    ("live", "Somebody speaks, and the model listens."),
    ("silence", "Nobody speaks; no emotion is claimed."),
    ("no signal", "The input is all zeros: a muted or forbidden microphone."),
    ("mic lost", "The device is gone; it is looked for, and listening goes on by itself."),
    ("behind", "The computer is too slow at the moment; windows are skipped and counted."),
    ("paused", "Capture is really stopped, because you asked for it."),
    ("ended", "The recording is over."),
)

READING = (
    (
        "Level",
        "█ loudness (RMS), ▒ the newest peak, ┃ the highest of late, ╎ the noise floor; CLIP: blocks at full scale.",
    ),
    (
        "Emotion",
        "Bars are smoothed, ┃ is the newest window by itself, ▶ the label that is held. The order never changes.",
    ),
    ("Timeline", "A lane per label, taller where the model was surer. Gaps: silence or doubt. ┊ audio was lost there."),
    ("your voice", "Beside the model: what is heard on this stream is set against a neutral voice that was learnt."),
    ("Attention", "How the newest window was weighed, oldest left. At half height a moment got its even share."),
    ("overflow", "The sound system lost audio before the program saw it; how much is not known."),
    ("dropped", "Samples that were overwritten before they were read."),
    ("skipped", "Windows that were left out in order to catch up."),
    (UNKNOWN, "Not known yet."),
    (NOT_SENT, "The broker does not carry this figure."),
)


class HelpScreen(ModalScreen[None]):
    """Keys and legend; any of its keys closes it."""

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
