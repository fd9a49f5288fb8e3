"""Make `report.png`, the picture in the README: a report of a made-up day, as headless Chromium shows it.

    python -m tests.pictures.take_report

Needs Debian's `chromium`, and Pillow, which matplotlib brings. Look at the result before you commit it.
"""

import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from PIL import Image

from streamer.events import EmotionStarted, Event, Health, Window
from streamer.sessions.report_data import read_report
from streamer.sessions.report_page import page
from tests.sessions.sessions_made import write_journal
from tests.sessions.synthetic_day import INFO, NOON, day

PICTURE = Path(__file__).with_name("report.png")
WIDTH, HEIGHT = 1000, 930
MUTED = (NOON + 4 * 3600, NOON + 5 * 3600)


def made_up_day() -> list[Event]:
    """Nineteen hours with an hour of mute and a loss of audio."""
    events: list[Event] = [replace(INFO, threshold=0.5, enter=0.5, exit=0.375)]
    for event in day(hours=19.0, begin=NOON - 8 * 3600):
        muted = MUTED[0] < event.time < MUTED[1]
        if muted and isinstance(event, Window | EmotionStarted):
            continue
        if isinstance(event, Health) and muted:
            event = replace(event, status="paused")
        elif isinstance(event, Window):
            shift_s = 3600.0 if event.time >= MUTED[1] else 0.0
            lost = 4_800 if event.seq == 6_000 else 0
            event = replace(event, end_s=event.end_s - shift_s, start_s=event.start_s - shift_s, dropped_samples=lost)
        events.append(event)
    return events


def take(picture: Path) -> None:
    """Write the page of that day, and save what Chromium shows of it."""
    with tempfile.TemporaryDirectory() as folder:
        journal = write_journal(Path(folder, "day.jsonl"), made_up_day())
        html, screen = Path(folder, "report.html"), Path(folder, "report.png")
        html.write_text(page(read_report([journal], ()), "A day at the desk (made up)"), encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000"]
        options += [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={screen}"]
        subprocess.run(["chromium", *options, html.as_uri()], check=True, capture_output=True, timeout=100)
        Image.open(screen).convert("RGB").quantize(64).save(picture, optimize=True)


if __name__ == "__main__":
    take(PICTURE)
