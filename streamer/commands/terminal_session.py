"""Put the dashboard on the terminal and take it off again, whatever happens in between."""

import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from streamer.commands.stderr import PlainFormatter
from streamer.errors import StreamerError, UsageError
from streamer.feed.snapshot import CaptureControls, Feed
from streamer.settings import Settings

_KEYBOARD = 0  # the descriptor that Textual reads

if TYPE_CHECKING:  # it brings Textual
    from streamer.dashboard.app import StreamerApp


class Leave(Protocol):
    """What ends the dashboard once it is set: an event, or the wish of a signal's handler."""

    def is_set(self) -> bool: ...


class ScreenFailedError(StreamerError):
    """The dashboard ended on a defect of its own, while what it shows goes on."""


def show(
    feed: Feed,
    settings: Settings,
    log_file: Path,
    *,
    controls: CaptureControls | None = None,
    start: Callable[[], None],
    leave: Sequence[Leave] = (),
) -> bool:
    """Run the dashboard until `q`, Ctrl-C, SIGTERM, or until one of `leave` is set; return False if the terminal went.

    `start` is called once native text cannot reach the screen any more; it returns at once.

    Raises:
        UsageError: there is no terminal to draw on, or no such theme.
        ScreenFailedError: the dashboard failed; nothing else has been stopped.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("There is no terminal to draw on; run it in one, or read the broker with mosquitto_sub.")
    if not can_draw():
        raise UsageError("This terminal cannot draw: set TERM, as to xterm-256color, or read the broker's messages.")
    from streamer.dashboard.terminal import native_stderr_to

    app = _app(feed, settings, controls)
    over, gone = threading.Event(), threading.Event()

    def watch_for_the_end() -> None:
        while not over.wait(0.1):
            if not os.isatty(_KEYBOARD):
                gone.set()
            if gone.is_set() or any(event.is_set() for event in leave):
                with suppress(RuntimeError):  # it is not running yet: the next time
                    app.call_from_thread(app.exit)
                    return

    with native_stderr_to(log_file):
        start()
        threading.Thread(target=watch_for_the_end, name="screen watch", daemon=True).start()
        try:
            app.run()
        finally:
            over.set()
    if not os.isatty(_KEYBOARD):
        return not (gone.is_set() or bool(app.return_code))
    if app.return_code:
        raise ScreenFailedError(
            f"The screen failed, for the reason above; please report it. More may be in the log file {log_file}."
        )
    return not gone.is_set()


def can_draw() -> bool:
    """Return whether the terminal obeys control sequences, as far as `TERM` says."""
    return os.name == "nt" or os.environ.get("TERM", "") not in ("", "dumb")


def _app(feed: Feed, settings: Settings, controls: CaptureControls | None) -> "StreamerApp":
    """Return the dashboard with the theme of the settings, else the one chosen last.

    Raises:
        UsageError: there is no such theme.
    """
    from streamer.dashboard.app import StreamerApp
    from streamer.dashboard.themes import ThemeMemory

    table = settings.dashboard
    app = StreamerApp(
        feed,
        controls,
        refresh_hz=table.refresh_hz,
        timeline_s=table.timeline_s,
        memory=ThemeMemory.of_user(),
    )
    if table.theme != "auto":
        if table.theme not in app.available_themes:
            raise UsageError(
                f"dashboard.theme = {table.theme!r}: no such theme; there are {', '.join(app.available_themes)}."
            )
        app.theme = table.theme
    return app


def open_log(path: Path | None) -> Path:
    """Send our own warnings to a file, because the screen belongs to the dashboard; returns its path.

    Raises:
        UsageError: the file that was asked for cannot be written.
    """
    import platformdirs

    path = path or platformdirs.user_log_path("streamer") / "streamer.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"The log file {path} cannot be written ({error.strerror}); name another with --log-file."
        ) from None
    handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(threadName)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    return path
