"""A real Chromium without a window, driven through its debugging protocol."""

import asyncio
import base64
import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.conftest import missing

PATIENCE_S = 60.0  # an upper bound only: every wait ends as soon as its condition holds
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-port=0",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)


class Page:
    """One tab."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._loop = loop
        self._socket = socket
        self._asked = 0
        self.problems: list[str] = []  # exceptions and errors of the page's console

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command of the protocol; return its result."""
        return self._loop.run_until_complete(asyncio.wait_for(self._ask(method, parameters), PATIENCE_S))

    def value(self, script: str) -> Any:
        """Return what `script` is, as JSON."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, url: str) -> None:
        """Go there."""
        self.ask("Page.navigate", url=url)

    def until(self, script: str, within_s: float = PATIENCE_S) -> Any:
        """Wait until `script` is true; return what it is."""
        deadline = time.monotonic() + within_s
        while not (value := self.value(script)):
            assert time.monotonic() < deadline, f"{script} never came: {self.value('document.body.innerText')}"
            time.sleep(0.1)
        return value

    def resize(self, width: int, height: int) -> None:
        """Set the size of the window, in pixels of the page."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def picture(self, path: Path) -> None:
        """Save what is seen, as PNG."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    async def _ask(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._asked += 1
        await self._socket.send_json({"id": self._asked, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json()
            if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.problems.append(str(message["params"]))
            if message.get("id") == self._asked:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result


@contextmanager
def chromium(folder: Path, *options: str) -> Iterator[Page]:
    """Run Chromium with its profile in `folder`; yield its first tab."""
    program = shutil.which("chromium")
    if program is None:
        missing("Chromium", "sudo apt install chromium")
    profile = folder / "profile"
    command = [program, *OPTIONS, f"--user-data-dir={profile}", *options, "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    loop = asyncio.new_event_loop()
    session: aiohttp.ClientSession | None = None
    try:
        port = _port(profile / "DevToolsActivePort", process)
        session, page = loop.run_until_complete(_attach(loop, port))
        for domain in ("Page", "Runtime", "Log"):
            page.ask(f"{domain}.enable")
        yield page
    finally:
        if session is not None:
            with contextlib.suppress(Exception):
                loop.run_until_complete(session.close())
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        loop.close()


async def _attach(loop: asyncio.AbstractEventLoop, port: str) -> tuple[aiohttp.ClientSession, Page]:
    session = aiohttp.ClientSession()
    async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
        tabs = await answer.json()
    where = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
    return session, Page(loop, await session.ws_connect(where, max_msg_size=0))


def _port(file: Path, process: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + PATIENCE_S
    while not (file.exists() and file.read_text().strip()):
        assert process.poll() is None, "Chromium ended"
        assert time.monotonic() < deadline, "Chromium did not start"
        time.sleep(0.1)
    return file.read_text().splitlines()[0]
