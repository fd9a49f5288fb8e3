"""Set up recording for `streamer run` and `streamer record`: the recorder, its notices, the past on the screen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from streamer.commands.stderr import notice
from streamer.monitor import Monitor
from streamer.settings import RecordConfig


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
    from streamer.sessions.clips import FOLDER
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
    say(f"Events are recorded in {folder}" + ("." if table.clips else "; audio is not."))
    if table.clips:
        _keep_clips(monitor, table, folder / FOLDER, say, fast=fast)
    if not headless:
        names = tuple(stream.name for stream in monitor.snapshot().streams)
        threading.Thread(target=recall_past, args=(folder, names, monitor.board), name="past", daemon=True).start()


def _keep_clips(monitor: Monitor, table: RecordConfig, folder: Path, say: Callable[[str], None], *, fast: bool) -> None:
    """Keep the audio around each emotion that starts, and say so."""
    from streamer.sessions.clip_recorder import AFTER_S, BEFORE_S, ClipRecorder
    from streamer.sessions.journal_writer import MEGABYTE

    if fast:
        say("With --fast no clips are kept: the audio is gone before the emotion is known.")
        return
    monitor.publish_to(ClipRecorder(folder, table.clips_max_mb * MEGABYTE, monitor.captured, say))
    say(
        f"AUDIO IS KEPT: {BEFORE_S + AFTER_S:.0f} s around each new emotion, in {folder}; `streamer review` lists and "
        "deletes it, record.clips = false ends it."
    )
