"""Hear from the sound server when a microphone comes, or another one is heard in its place."""

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable

_RESTART_S = 1.0  # between two starts of the tool, where there is no server that it could listen to
# A new card or source, or another default. Not `source-output`, a recording, which our own opening causes, too.
_CAME = re.compile(r"'new' on (source|card) |'change' on server ")
# A source that goes, whose recordings are moved to another one, and a recording that is moved for another reason.
_MOVED = re.compile(r"'remove' on source |'change' on source-output ")


class SoundServerEvents:
    """Runs `pactl subscribe` while somebody waits for news, and calls back for what may be a microphone's.

    Does nothing where there is no PulseAudio (or PipeWire in its place). For one thread, which calls `listen` often.
    """

    def __init__(self, tool: str = "pactl") -> None:
        self._tool = tool
        self._process: subprocess.Popen[str] | None = None
        self._started_s = -_RESTART_S

    def listen(self, came: Callable[[], None], moved: Callable[[], None]) -> bool:
        """Call `came` where a device may have come, and `moved` where a recording may hear another one by now.

        Both are called from a thread of its own. Returns at once, whether it works.
        """
        if self._process is not None and self._process.poll() is None:
            return time.monotonic() - self._started_s > _RESTART_S  # by then the tool has ended if there is no server
        self.stop()
        if time.monotonic() - self._started_s < _RESTART_S or shutil.which(self._tool) is None:
            return False
        self._started_s = time.monotonic()
        try:
            process = subprocess.Popen(
                [self._tool, "subscribe"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                text=True, errors="replace", env=os.environ | {"LC_ALL": "C"}, start_new_session=True,
            )  # fmt: skip
        except OSError:
            return False
        self._process = process
        threading.Thread(target=_read, args=(process, came, moved), name="sound server", daemon=True).start()
        return False

    def stop(self) -> None:
        """Listen no more. Safe to call at any time."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


def _read(process: "subprocess.Popen[str]", came: Callable[[], None], moved: Callable[[], None]) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            if _CAME.search(line):
                came()
            elif _MOVED.search(line):
                moved()
