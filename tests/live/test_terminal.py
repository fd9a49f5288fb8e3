"""The real program in a pseudo-terminal: what a person sees, the keys, and the terminal afterwards."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import BinaryIO

import pytest
import soundfile

from streamer.audio.open import DEMO
from streamer.publish.broker import EmbeddedBroker

pytestmark = [pytest.mark.real, pytest.mark.timeout(150)]
LEAVES_THE_SCREEN = b"\x1b[?1049l"  # back from the alternate screen
SHOWS_THE_CURSOR = b"\x1b[?25h"


class Terminal:
    """A program on a pseudo-terminal of 100 x 30 cells; keeps every byte that it wrote."""

    def __init__(self, *arguments: str, stdin: BinaryIO | None = None) -> None:
        self._fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "OMP_NUM_THREADS": "1"}
        environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamer", *arguments],
            stdin=stdin or theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(1, termios.TIOCSCTTY, 0),  # so that there is a /dev/tty
        )
        os.close(theirs)
        self.written = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._fd, 65_536)
            except OSError:  # the other side is closed
                return
            if not piece:
                return
            self.written += piece

    def shows(self, text: str, within_s: float = 60.0, since: int = 0) -> int:
        """Wait until `text` was written after byte `since`; returns how much was written then."""
        deadline = time.monotonic() + within_s
        while text.encode() not in self.written[since:]:
            assert self.process.poll() is None, self.written[-2_000:].decode(errors="replace")
            assert time.monotonic() < deadline, f"{text!r} never came: {self.written[-2_000:].decode(errors='replace')}"
            time.sleep(0.05)
        return len(self.written)

    def press(self, keys: str) -> int:
        """Type; returns how much was written before."""
        before = len(self.written)
        os.write(self._fd, keys.encode())
        return before

    def wait(self, within_s: float = 10.0) -> int:
        """The exit code, once everything was read."""
        code = self.process.wait(within_s)
        self._thread.join(2.0)
        return code

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(5.0)
        self._thread.join(2.0)
        os.close(self._fd)


def test_the_dashboard_runs_obeys_its_keys_and_leaves_a_clean_terminal(tmp_path: Path) -> None:
    with Terminal("run", "demo", "--mqtt", "off", "--log-file", str(tmp_path / "log")) as terminal:
        terminal.shows("LIVE")
        terminal.shows("PAUSED", since=terminal.press("m"))
        terminal.shows("WARMING", since=terminal.press("m"))
        terminal.press("q")
        assert terminal.wait() == 0
        assert terminal.written.rfind(LEAVES_THE_SCREEN) > terminal.written.rfind(b"WARMING")
        assert SHOWS_THE_CURSOR in terminal.written[-400:]
        assert b"leaked" not in terminal.written


def test_raw_pcm_from_a_pipe_leaves_the_keyboard_to_the_dashboard(tmp_path: Path) -> None:
    raw = tmp_path / "speech.raw"
    raw.write_bytes((soundfile.read(DEMO)[0] * 32_767).astype("<i2").tobytes())
    with (
        raw.open("rb") as audio,
        Terminal("run", "-", "--mqtt", "off", "--log-file", str(tmp_path / "log"), stdin=audio) as terminal,
    ):
        terminal.shows("stdin")
        terminal.shows("neutral")
        terminal.press("q")
        assert terminal.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_clean_terminal_too(tmp_path: Path, number: signal.Signals) -> None:
    with Terminal("run", "demo", "--mqtt", "off", "--log-file", str(tmp_path / "log")) as terminal:
        terminal.shows("demo")
        time.sleep(0.5)
        terminal.process.send_signal(number)
        assert terminal.wait() == 0
        assert LEAVES_THE_SCREEN in terminal.written
        assert b"Traceback" not in terminal.written


def test_a_failure_is_told_in_one_sentence_after_the_screen_is_restored(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a checkpoint")
    log = str(tmp_path / "log")
    with Terminal("run", "demo", "--mqtt", "off", "--checkpoint", str(broken), "--log-file", log) as terminal:
        assert terminal.wait(60.0) == 1
        told = terminal.written.rsplit(LEAVES_THE_SCREEN, 1)[1].decode()
        assert "streamer: " in told
        assert "broken.safetensors" in told
        assert "Traceback" not in told


def test_a_second_terminal_shows_the_same_from_the_broker(tmp_path: Path) -> None:
    broker = EmbeddedBroker(port=18_830)
    url = broker.start()
    try:
        with (
            Terminal("run", "demo", "--mqtt", url, "--log-file", str(tmp_path / "log")) as first,
            Terminal("watch", url, "--log-file", str(tmp_path / "log2")) as second,
        ):
            first.shows("LIVE")
            second.shows("LIVE")
            second.shows("not sent")
            second.press("q")
            assert second.wait() == 0
            first.press("q")
            assert first.wait() == 0
    finally:
        broker.stop()
