"""Set up recording for `streamer run` and `streamer record`: the recorder, its notices, the past on the screen."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

from streamer.commands.stderr import notice
from streamer.config import RecordConfig
from streamer.monitor import Monitor


def record_events(monitor: Monitor, table: RecordConfig, stack: ExitStack, *, fast: bool, headless: bool) -> None:
    """Record all events of `monitor`, not started yet, and put what was recorded before on its timeline.

    Args:
        monitor: with its sources.
        table: with a folder.
        stack: closes the recorder.
        fast: lose nothing, however fast events come.
        headless: notices go to standard error, for there is no screen.

    Raises:
        UsageError: the folder cannot be written, or another monitor records into it.
    """
    from streamer.sessions.past import recall_past
    from streamer.sessions.recorder import Recorder

    def say(sentence: str) -> None:
        monitor.board.log("note", sentence)
        if headless:
            notice(sentence)

    folder = Path(table.folder).expanduser()
    recorder = Recorder(folder, table, say, wait=fast)
    stack.callback(recorder.close)
    monitor.publish_to(recorder)
    say(f"Events are recorded in {folder}; audio is not.")
    if not headless:
        names = tuple(stream.name for stream in monitor.snapshot().streams)
        threading.Thread(target=recall_past, args=(folder, names, monitor.board), name="past", daemon=True).start()
