"""Make `page.png`, the picture in the README: the real page in Chromium, fed with the scripted scene of the tests.

    python -m tests.pictures.record_page

The scene's emotions are made up. Beside the picture of 1280 x 900 pixels, one of a phone's width is saved in the folder
for temporary files. Look at both before you commit. No test runs this.
"""

import tempfile
import time
from pathlib import Path

from streamer.publish.listen import Listen
from streamer.web.access import Access
from streamer.web.server import PageServer
from tests.dashboard.scripted_feed import PlayingFeed, live_feed
from tests.support.browser import chromium

PICTURE = Path(__file__).with_name("page.png")


def record() -> None:
    """Serve the scene, and save the page."""
    server = PageServer(PlayingFeed(live_feed().shown), Access(Listen("127.0.0.1", 0)))
    server.start()
    with tempfile.TemporaryDirectory() as folder, chromium(Path(folder)) as page:
        page.resize(1280, 900)
        page.open(server.url + "?theme=dark")
        page.until("document.querySelectorAll('#bars li').length === 8")
        page.until("document.querySelector('#bars li.current') !== null")
        time.sleep(3.0)
        page.picture(PICTURE)
        page.resize(390, 1300)
        time.sleep(2.0)
        page.picture(Path(tempfile.gettempdir(), "page-phone.png"))
    server.close()


if __name__ == "__main__":
    record()
