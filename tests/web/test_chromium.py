"""The page in a real Chromium, with the real program behind it."""

import asyncio
import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from streamer.sources.demo import DEMO
from tests.live.program import Streamer, write_config
from tests.support.browser import Page, chromium
from tests.support.real_broker import Mosquitto, free_port, program
from tests.test_events import CONTRACT
from tests.web.pages import visit

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
BARS = "[...document.querySelectorAll('#bars .track i')].map((bar) => bar.style.transform).join()"
NUMBERS = "[...document.querySelectorAll('#bars output')].map((one) => one.textContent).join()"
STATUS = "document.getElementById('status').textContent"
SHOWS_FIGURES = f"{NUMBERS}.match(/[0-9]/)"
LIGHT = "[window]\nhop_s = 0.96\n"  # so that machines that do much else keep up


@contextmanager
def serving(command: str, *arguments: str) -> Iterator[tuple[Streamer, str]]:
    """`streamer run` or `streamer serve`, and where its page is."""
    with Streamer(command, *arguments) as running:
        running.until(lambda: any("http://" in line for line in running.errors))
        (url,) = re.findall(r"http://\S+", "".join(running.errors))
        yield running, url


@contextmanager
def monitor(folder: Path, source: str, port: int = 0) -> Iterator[tuple[Streamer, str]]:
    options = ("--headless", "--mqtt", "off", "--config", write_config(folder, LIGHT), "--serve", str(port))
    with serving("run", source, *options) as found:
        yield found


def moves(page: Page, script: str, times: int = 3) -> None:
    """Wait until what `script` says has changed so often."""
    seen = {page.value(script)}
    deadline = time.monotonic() + 60
    while len(seen) <= times:
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)
        seen.add(page.value(script))


def test_the_page_lives_with_the_monitor_and_visitors_cost_it_nothing(tmp_path: Path) -> None:
    port = free_port()
    with chromium(tmp_path) as page:
        with monitor(tmp_path, "demo", port) as (running, url):
            page.resize(1280, 900)
            page.open(url)
            page.until(SHOWS_FIGURES)
            moves(page, BARS)
            moves(page, "document.getElementById('rms').style.transform")
            assert page.value("document.querySelectorAll('#log li').length") > 0
            for width in (1280, 390):
                page.resize(width, 900)
                assert page.value("document.documentElement.scrollWidth") <= width
            assert visitors_cost(url) == 0
            running.process.kill()
        page.until(f"{STATUS} === 'no new data'")
        with monitor(tmp_path, "demo", port):
            page.until(f"{STATUS} !== 'no new data'")
            page.until(SHOWS_FIGURES)
            moves(page, BARS)
            looks_at_the_overlay(page, url)
    assert [problem for problem in page.problems if "ERR_" not in problem] == []


def visitors_cost(url: str) -> int:
    """How many windows are skipped while ten visitors look for some seconds."""

    async def ten() -> list[int]:
        visits = await asyncio.gather(*(visit(url, 60) for _ in range(10)))
        return [state["streams"][0]["losses"][2] for state in visits[0].states]

    skipped = asyncio.run(ten())
    return skipped[-1] - skipped[0]


def looks_at_the_overlay(page: Page, url: str) -> None:
    page.open(url + "?overlay=1&stream=demo")
    page.until(SHOWS_FIGURES)
    for element in ("body", "documentElement"):
        assert page.value(f"getComputedStyle(document.{element}).backgroundColor") == "rgba(0, 0, 0, 0)"
    visible = "[...document.querySelectorAll('section, header, footer')].filter((one) => one.offsetParent)"
    assert page.value(f"{visible}.map((one) => one.getAttribute('aria-label')).join()") == "Now,Emotions"


def test_the_browser_s_microphone_is_a_source_until_it_is_stopped(tmp_path: Path) -> None:
    sound = tmp_path / "speech.wav"
    subprocess.run([program("ffmpeg"), "-loglevel", "error", "-i", DEMO, "-ar", "48000", "-ac", "1", sound], check=True)
    source = f"listen+ws://127.0.0.1:{free_port()}"
    with (
        monitor(tmp_path, source) as (running, url),
        chromium(tmp_path, f"--use-file-for-fake-audio-capture={sound}") as page,
    ):
        page.open(url)
        page.until("document.getElementById('microphone')?.hidden === false")
        page.value("document.getElementById('microphone').click()")
        page.until(f"{STATUS} === 'live'")
        moves(page, BARS, 2)
        assert max(window["rms_dbfs"] for window in running.of("window")) > -45
        page.value("document.getElementById('microphone').click()")
        page.until(f"{STATUS} === 'source lost'")


def test_serve_shows_what_a_broker_carries(tmp_path: Path) -> None:
    with ExitStack() as stack:
        broker = Mosquitto(tmp_path).start()
        stack.callback(broker.stop)
        over = threading.Event()
        stack.callback(over.set)
        threading.Thread(target=_publish, args=(broker.port, over), daemon=True).start()
        running, url = stack.enter_context(serving("serve", broker.url, "--listen", "0"))
        page = stack.enter_context(chromium(tmp_path))
        page.open(url)
        page.until(SHOWS_FIGURES)
        moves(page, NUMBERS)
        assert page.value("document.getElementById('streams').textContent") == "n/desk"
        assert running.end(signal.SIGTERM) == 0


def _publish(port: int, over: threading.Event) -> None:
    """Publish windows that change, four a second."""
    wire = json.loads(CONTRACT["window"][1])
    while not over.wait(0.25):
        share = round(time.monotonic() % 1, 2)
        probs = dict.fromkeys(wire["probs"], 0.0) | {"happy": share, "neutral": round(1 - share, 2)}
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + "Z"
        message = json.dumps(wire | {"time": moment, "probs": probs, "stream": "desk", "warming": False})
        where = ["-h", "127.0.0.1", "-p", str(port), "-t", "streamer/n/desk/window"]
        subprocess.run([program("mosquitto_pub"), *where, "-m", message], check=False)
