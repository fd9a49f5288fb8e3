"""The real app in a pseudo-terminal: what reaches the terminal, what the log, and what is left behind."""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streamer.dashboard.terminal import native_stderr_to
from streamer.errors import StreamerError
from tests.conftest import missing

ROOT = Path(__file__).parents[2]
NOISE = "ALSA lib pcm.c:2664: Unknown PCM cards.pcm.rear"
SCREEN_ON, SCREEN_OFF = "\x1b[?1049h", "\x1b[?1049l"

PRELUDE = f"""
import os, sys, threading, time
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from tests.dashboard.scripted_feed import live_feed
from streamer.dashboard import StreamerApp, native_stderr_to

class NoisyFeed:
    looks = 0
    def __init__(self, feed): self.feed = feed
    def __getattr__(self, name): return getattr(self.feed, name)
    def snapshot(self):
        NoisyFeed.looks += 1
        os.write(2, {NOISE!r}.encode() + b"\\n")
        return self.feed.snapshot()
"""
PLAY = """
feed = NoisyFeed(live_feed())
app = StreamerApp(feed, feed, refresh_hz=20)
with native_stderr_to(Path(sys.argv[1])):
    app.run()
os.write(2, b"descriptor 2 is back\\n")
print("python is back", file=sys.stderr)
sys.exit(app.return_code)
"""
CRASH = """
class Broken(StreamerApp):
    def tick(self):
        super().tick()
        if NoisyFeed.looks > 3:
            raise ZeroDivisionError("a defect of the screen")

feed = NoisyFeed(live_feed())
app = Broken(feed, feed, refresh_hz=20)
with native_stderr_to(Path(sys.argv[1])):
    app.run()
sys.exit(app.return_code)
"""


class Terminal:
    """A program in a pseudo-terminal of 80x24."""

    def __init__(self, code: str, *arguments: str, stderr_to: Path | None = None) -> None:
        pty = pytest.importorskip("pty")
        termios = pytest.importorskip("termios")
        try:
            self._master, slave = pty.openpty()
        except OSError:
            missing("A pseudo-terminal", "mount /dev/pts")
        termios.tcsetwinsize(slave, (24, 80))
        environment = os.environ | {"TERM": "xterm-256color", "TEXTUAL_ANIMATIONS": "none"}
        stderr = stderr_to.open("wb") if stderr_to else None
        self._process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + code, *arguments],
            stdin=slave, stdout=slave, stderr=stderr or slave, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        if stderr:
            stderr.close()
        self.output = ""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def read_until(self, text: str, patience_s: float = 30.0) -> None:
        """Collect output until it holds `text`."""
        until = time.monotonic() + patience_s
        while text not in self.output and time.monotonic() < until:
            self._read()
        assert text in self.output

    def send(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def terminate(self) -> None:
        self._process.terminate()

    def wait(self, patience_s: float = 30.0) -> int:
        """The exit code, with all output collected."""
        until = time.monotonic() + patience_s
        while self._process.poll() is None and time.monotonic() < until:
            self._read()
        while self._read():
            pass
        return self._process.wait(1.0)

    def _read(self) -> bool:
        if not select.select([self._master], [], [], 0.1)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other end is closed
            return False
        self.output += data.decode(errors="replace")
        return bool(data)


def test_native_text_goes_to_the_log_and_the_terminal_is_left_clean(tmp_path: Path) -> None:
    log = tmp_path / "native.log"
    with Terminal(PLAY, str(log)) as terminal:
        terminal.read_until("surprised")
        terminal.send(b"q")
        assert terminal.wait() == 0
        screen, _, after = terminal.output.rpartition(SCREEN_OFF)
    assert SCREEN_ON in screen
    assert "ALSA" not in terminal.output
    assert NOISE in log.read_text()
    assert "descriptor 2 is back" in after
    assert "python is back" in after


def test_a_traceback_is_printed_after_the_screen_is_restored(tmp_path: Path) -> None:
    with Terminal(CRASH, str(tmp_path / "native.log")) as terminal:
        assert terminal.wait() == 1
        screen, _, after = terminal.output.rpartition(SCREEN_OFF)
    assert "a defect of the screen" in after
    assert "a defect of the screen" not in screen


def test_being_told_to_end_leaves_a_clean_terminal(tmp_path: Path) -> None:
    with Terminal(PLAY, str(tmp_path / "native.log")) as terminal:
        terminal.read_until("surprised")
        terminal.terminate()
        assert terminal.wait() == 0
    assert SCREEN_OFF in terminal.output


def test_a_redirected_stderr_keeps_the_native_text_and_the_screen_is_still_seen(tmp_path: Path) -> None:
    log, redirected = tmp_path / "native.log", tmp_path / "stderr"
    with Terminal(PLAY, str(log), stderr_to=redirected) as terminal:
        terminal.read_until("surprised")
        terminal.send(b"q")
        assert terminal.wait() == 0
    assert NOISE in redirected.read_text()
    assert SCREEN_ON not in redirected.read_text()
    assert "python is back" in redirected.read_text()


def test_without_any_terminal_nothing_is_moved(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from streamer.dashboard import native_stderr_to\n"
        "with native_stderr_to(Path(sys.argv[1])): os.write(2, b'where it always went')"
    )
    log = tmp_path / "native.log"
    ended = subprocess.run([sys.executable, "-c", code, str(log)], capture_output=True, check=True, timeout=60)
    assert ended.stderr == b"where it always went"
    assert not log.exists()


def test_a_log_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda fd: True)
    with pytest.raises(StreamerError, match="cannot be written"), native_stderr_to(tmp_path / "nowhere" / "native.log"):
        pytest.fail("the block must not be entered")
