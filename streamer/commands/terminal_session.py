"""Put the dashboard on the terminal and take it off again, whatever happens in between."""

import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from streamer.config import Settings
from streamer.errors import UsageError
from streamer.feed.snapshot import CaptureControls, Feed


def show(
    feed: Feed,
    settings: Settings,
    log_file: Path,
    *,
    controls: CaptureControls | None = None,
    start: Callable[[], None],
    failed: threading.Event | None = None,
) -> None:
    """Run the dashboard until `q`, Ctrl-C, SIGTERM, or until `failed` is set.

    `start` is called once native text cannot reach the screen any more; it returns at once.

    Raises:
        UsageError: there is no terminal to draw on, or no such theme.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("There is no terminal to draw on; run it in one, or read the broker with mosquitto_sub.")
    from streamer.dashboard.app import StreamerApp
    from streamer.dashboard.terminal import native_stderr_to

    table = settings.dashboard
    app = StreamerApp(feed, controls, refresh_hz=table.refresh_hz, timeline_s=table.timeline_s)
    if table.theme != "auto":
        if table.theme not in app.available_themes:
            raise UsageError(
                f"dashboard.theme = {table.theme!r}: no such theme; there are {', '.join(app.available_themes)}."
            )
        app.theme = table.theme
    over = threading.Event()

    def watch_for_failure(failed: threading.Event) -> None:
        while not over.wait(0.1):
            if failed.is_set():
                app.call_from_thread(app.exit)
                return

    with native_stderr_to(log_file):
        start()
        if failed is not None:
            threading.Thread(target=watch_for_failure, args=(failed,), name="failure watch", daemon=True).start()
        try:
            app.run()
        finally:
            over.set()


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
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(threadName)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    return path
