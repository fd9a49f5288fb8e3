"""Make `dashboard.svg`, the picture in the README: the real program, playing a real recording, saves its own screen.

    python -m tests.pictures.record_dashboard SPEECH.wav [SECONDS]

The recording plays in real time as the stream "desk", with the embedded broker, on a terminal of 120 x 40 cells; after
SECONDS (default: 60) ctrl+s saves the picture. Choose speech whose licence allows it: only the picture is published, no
audio. Look at the result before you commit it: the emotions in it are what the model outputs, right or wrong. No test
runs this; `tests/dashboard/test_pictures.py` only checks that the picture still shows the panels of today.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.support.terminal import Terminal

PICTURE = Path(__file__).with_name("dashboard.svg")
COLUMNS, ROWS = 120, 40


def record(speech: Path, seconds: float, picture: Path) -> None:
    """Play `speech` through the dashboard for `seconds`, and save the screen as `picture`."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "desk.toml")
        config.write_text(f'[[stream]]\nname = "desk"\nsource = "{speech.resolve()}"\n')
        program = (sys.executable, "-m", "streamer", "run", "--config", str(config), "--log-file", f"{folder}/log")
        environment = os.environ | {"XDG_DOWNLOAD_DIR": folder, "XDG_DATA_HOME": folder, "COLORTERM": "truecolor"}
        with Terminal(*program, columns=COLUMNS, rows=ROWS, env=environment) as terminal:
            terminal.shows("LIVE")
            time.sleep(seconds)
            terminal.press("\x13")  # ctrl+s
            terminal.shows("Picture saved")
            terminal.press("q")
            terminal.wait()
        shutil.copy(next(Path(folder).glob("*.svg")), picture)


if __name__ == "__main__":
    record(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 60.0, PICTURE)
