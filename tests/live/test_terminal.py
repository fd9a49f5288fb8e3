"""The real program in a pseudo-terminal: what a person sees, the keys, and the terminal afterwards."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pytest
import soundfile

from streamer.publish.broker import BrokerOptions, EmbeddedBroker
from streamer.sources.demo import DEMO
from tests.live.program import LIVELY, events, write_config
from tests.support.real_broker import Listener, Mosquitto, eventually, free_port, program
from tests.support.terminal import PATIENCE_S, Terminal
from tests.test_events import CONTRACT

pytestmark = [pytest.mark.real, pytest.mark.timeout(150)]
LEAVES_THE_SCREEN = b"\x1b[?1049l"  # back from the alternate screen
SHOWS_THE_CURSOR = b"\x1b[?25h"


def streamer(*arguments: str, stdin: BinaryIO | None = None, term: str = "xterm-256color") -> Terminal:
    """`streamer …` on a terminal of 100 x 30 cells."""
    return Terminal(sys.executable, "-m", "streamer", *arguments, columns=100, rows=30, stdin=stdin, term=term)


def test_the_dashboard_runs_obeys_its_keys_and_leaves_a_clean_terminal(tmp_path: Path) -> None:
    with streamer("run", "demo", "--mqtt", "off", "--log-file", str(tmp_path / "log")) as terminal:
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
        streamer("run", "-", "--mqtt", "off", "--log-file", str(tmp_path / "log"), stdin=audio) as terminal,
    ):
        terminal.shows("stdin")
        terminal.shows("neutral")
        terminal.press("q")
        assert terminal.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_a_clean_terminal_too(tmp_path: Path, number: signal.Signals) -> None:
    with streamer("run", "demo", "--mqtt", "off", "--log-file", str(tmp_path / "log")) as terminal:
        terminal.shows("STARTING")
        terminal.process.send_signal(number)
        assert terminal.wait() == 0
        assert LEAVES_THE_SCREEN in terminal.written
        assert b"Traceback" not in terminal.written


def test_a_terminal_that_cannot_draw_gets_sentences_and_no_control_sequence(tmp_path: Path) -> None:
    with streamer("run", "demo", "--mqtt", "off", "--log-file", str(tmp_path / "log"), term="dumb") as terminal:
        terminal.shows("as --plain does")
        terminal.shows("% sure.")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.wait() == 0
        assert b"\x1b" not in terminal.written


def test_a_failure_is_reported_in_one_sentence_after_the_screen_is_restored(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a checkpoint")
    log = str(tmp_path / "log")
    with streamer("run", "demo", "--mqtt", "off", "--checkpoint", str(broken), "--log-file", log) as terminal:
        assert terminal.wait() == 1
        message = terminal.written.rsplit(LEAVES_THE_SCREEN, 1)[1].decode()
        assert "streamer: " in message
        assert "broken.safetensors" in message
        assert "Traceback" not in message


def test_a_second_terminal_shows_the_same_from_the_broker(tmp_path: Path) -> None:
    broker = EmbeddedBroker(BrokerOptions(port=18_830, access="open"))
    url = broker.start()
    try:
        with (
            streamer("run", "demo", "--mqtt", url, "--log-file", str(tmp_path / "log")) as first,
            streamer("watch", url, "--log-file", str(tmp_path / "log2")) as second,
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


NOHUP = ("sh", "-c", 'trap "" HUP; exec "$@"', "nohup")  # nohup itself would redirect the output


@pytest.mark.parametrize("wrapper", [(), NOHUP])
def test_a_watcher_whose_terminal_is_closed_ends(tmp_path: Path, wrapper: tuple[str, ...]) -> None:
    command = ("watch", "mqtt://127.0.0.1:9", "--log-file", str(tmp_path / "log"))
    with Terminal(*wrapper, sys.executable, "-m", "streamer", *command) as terminal:
        terminal.shows("127.0.0.1:9")
        terminal.hang_up()
        assert terminal.process.wait(10) == 0


def test_a_broker_whose_terminal_is_closed_leaves_no_trace(tmp_path: Path) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    command = (sys.executable, "-m", "streamer", "broker", "--port", str(free_port()))
    with Terminal(*command, env=environment) as terminal:
        terminal.shows("listens on")
        assert list(tmp_path.rglob("brokers/*.json"))
        terminal.hang_up()
        assert terminal.process.wait(10) == 0
    assert list(tmp_path.rglob("brokers/*.json")) == []


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[tuple[str, Listener]]:
    """A broker's URL, and what arrives there."""
    with ExitStack() as stack:
        broker = Mosquitto(tmp_path).start()
        stack.callback(broker.stop)
        listener = Listener(broker.port, ["streamer/#"])
        stack.callback(listener.close)
        yield broker.url, listener


def test_a_monitor_whose_terminal_is_closed_ends_in_order(tmp_path: Path, heard: tuple[str, Listener]) -> None:
    url, listener = heard
    with streamer("run", "demo", "--mqtt", url, "--log-file", str(tmp_path / "log")) as terminal:
        eventually(lambda: bool(listener.payloads("/window")), PATIENCE_S)
        terminal.hang_up()
        assert terminal.process.wait(10) == 0
    eventually(lambda: listener.payloads("/availability")[-1] == "offline", 5)


def test_a_monitor_that_ignores_the_hangup_goes_on_without_a_screen_until_sigterm(
    tmp_path: Path, heard: tuple[str, Listener]
) -> None:
    (url, listener), log = heard, tmp_path / "log"
    command = ("run", "demo", "--mqtt", url, "--log-file", str(log))
    with Terminal(*NOHUP, sys.executable, "-m", "streamer", *command) as terminal:
        eventually(lambda: bool(listener.payloads("/window")), PATIENCE_S)
        terminal.hang_up()
        eventually(lambda: "goes on without a screen" in log.read_text(), 10)
        before = len(listener.payloads("/window"))
        eventually(lambda: len(listener.payloads("/window")) > before + 4, PATIENCE_S)
        terminal.process.terminate()
        assert terminal.process.wait(10) == 0
    eventually(lambda: listener.payloads("/availability")[-1] == "offline", 5)
    assert "Traceback" not in log.read_text()


DYING = """
import sys
from streamer.cli import main
from streamer.dashboard.app import StreamerApp

drawn = 0

def draw(self, live, draw=StreamerApp._draw):
    global drawn
    draw(self, live)
    drawn += live.streams[0].state is not None and live.streams[0].state.label is not None
    if drawn > 3:
        raise ZeroDivisionError("a defect of the screen")

StreamerApp._draw = draw
sys.argv = ["streamer", *sys.argv[1:]]
main()
"""


def test_hearing_goes_on_when_the_screen_dies_and_ends_every_emotion(
    tmp_path: Path, heard: tuple[str, Listener]
) -> None:
    url, listener = heard
    config = write_config(tmp_path, LIVELY)
    options = ("--mqtt", url, "--config", config, "--log-file", str(tmp_path / "log"))
    with Terminal(sys.executable, "-c", DYING, "run", "demo", *options) as terminal:
        terminal.shows("go on without it")
        assert "a defect of the screen" in terminal.text
        before = len(listener.payloads("/window"))
        eventually(lambda: len(listener.payloads("/window")) > before + 4, PATIENCE_S)
        eventually(lambda: events(listener, "state")[-1]["label"] is not None, 20)
        terminal.process.terminate()
        assert terminal.wait() == 1
    eventually(lambda: listener.payloads("/availability")[-1] == "offline", 5)
    ids = [(event["event_type"], event["id"]) for event in events(listener, "transition")]
    started = {number for kind, number in ids if kind == "emotion_started"}
    assert started
    assert started == {number for kind, number in ids if kind == "emotion_ended"}


def test_hostile_messages_are_counted_on_the_watchers_screen_and_end_nothing(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path).start()
    wire = json.loads(CONTRACT["window"][1])
    started = json.loads(CONTRACT["emotion_started"][1])
    hostile = [wire | {"time": "9999-12-31T23:59:59Z"}, wire | {"dropped_samples": 10**400}]
    hostile += [wire | {"rms_dbfs": 1e308}, wire | {"time": "0001-01-01T00:00:00+14:00"}]
    try:
        for number, message in enumerate(hostile):
            _publish(broker, f"streamer/n/s{number}/window", message | {"stream": f"s{number}"}, "-r")
        _publish(broker, "streamer/n/desk/transition", started | {"time": "9999-12-31T23:59:59-01:00"}, "-r")
        with streamer("watch", broker.url, "--log-file", str(tmp_path / "log")) as terminal:
            shown = terminal.shows("malformed")
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            _publish(broker, "streamer/n/desk/window", wire | {"time": now})
            terminal.shows("LIVE", since=shown)
            terminal.press("q")
            assert terminal.wait() == 0
            assert "Traceback" not in terminal.text
    finally:
        broker.stop()


def _publish(broker: Mosquitto, topic: str, message: dict[str, object], *options: str) -> None:
    where = ["-h", "127.0.0.1", "-p", str(broker.port), "-t", topic, "-q", "1"]
    subprocess.run([program("mosquitto_pub"), *where, *options, "-m", json.dumps(message)], check=True)
