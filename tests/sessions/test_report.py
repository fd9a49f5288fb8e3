"""The report: its figures, its size, and that it draws in a real browser without a network."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamer.cli import app
from streamer.errors import StreamerError
from streamer.events import EmotionStarted, Event, Window
from streamer.sessions.report_data import NONE, drawing, followed, held_seconds, longest, read_report
from streamer.sessions.report_page import CAVEAT, page
from tests.conftest import missing
from tests.sessions.sessions_made import as_from_a_file, write_journal
from tests.sessions.synthetic_day import INFO, LABELS, NOON, day
from tests.support.event_samples import TIME, health

ABOUT = replace(INFO, model_sha256="8da2" * 16, threshold=0.5, enter=0.5, exit=0.375)

# Appended to the page: looks at what was drawn, moves the pointer, clicks, and says what came of it.
PROBE = """<script>
addEventListener("load", () => setTimeout(() => {
  const said = {}, canvas = name => document.querySelector(name);
  const pixels = one => one.getContext("2d").getImageData(0, 0, one.width, one.height).data.buffer;
  const colours = one => new Set(new Uint32Array(pixels(one))).size;
  const picture = one => one.toDataURL();
  said.days = colours(canvas(".days")); said.detail = colours(canvas(".detail"));
  const box = canvas(".detail").getBoundingClientRect();
  const at = (kind, target, x, y, more) => target.dispatchEvent(new PointerEvent(kind, {bubbles: true,
    clientX: box.left + x, clientY: box.top + y, pointerId: 1, ...more}));
  for (let x = 130; x < box.width && !/up to/.test(document.getElementById("tip").textContent); x += 3) {
    at("pointermove", canvas(".detail"), x, 40);
  }
  said.tip = document.getElementById("tip").textContent;
  const before = picture(canvas(".detail")); canvas(".closer").click();
  said.closer = picture(canvas(".detail")) !== before; canvas(".whole").click();
  said.whole = picture(canvas(".detail")) === before;
  said.wide = document.documentElement.scrollWidth > innerWidth;
  const result = document.createElement("pre"); result.id = "said"; result.textContent = JSON.stringify(said);
  document.body.append(result);
}, 200));
</script>"""


def with_a_gap_and_a_loss() -> list[Event]:
    first = list(day(hours=3.0))
    first = [replace(e, dropped_samples=480) if isinstance(e, Window) and e.seq == 900 else e for e in first]
    muted = replace(health("paused"), time=NOON + 3 * 3600 + 1.0)
    again = replace(health("warming"), time=NOON + 4 * 3600)
    later = [
        replace(e, seq=e.seq + 2_700) if isinstance(e, Window) else e for e in day(3.0, begin=NOON + 4 * 3600, seed=8)
    ]
    later = [replace(e, end_s=e.end_s + 3 * 3600) if isinstance(e, Window) else e for e in later]
    return [ABOUT, *first, muted, again, *later]


def said_by_chromium(html: str, folder: Path, width: int) -> dict[str, object]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        missing("chromium", "install the package chromium")
        raise AssertionError("unreachable")
    path = folder / "probed.html"
    path.write_text(html.replace("</html>", PROBE + "</html>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    options += [f"--window-size={width},1200", "--virtual-time-budget=5000", "--dump-dom"]
    done = subprocess.run([chromium, *options, path.as_uri()], capture_output=True, text=True, check=True, timeout=100)
    found = re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stdout[-2000:]
    return dict(json.loads(found[1]))


def test_shares_transitions_and_longest_stretches_are_those_of_the_events(tmp_path: Path) -> None:
    events = with_a_gap_and_a_loss()
    data = read_report([write_journal(tmp_path / "day.jsonl", events)], ())
    (part,) = data.parts
    held = held_seconds(part)
    assert sum(held.values()) == pytest.approx(part.stream.heard_s)
    begun = [e for e in events if isinstance(e, EmotionStarted)]
    assert sum(followed(part).values()) == len(begun)
    assert {before for before, _ in followed(part)} <= {*LABELS, NONE}
    lengths = [interval.end - interval.start for interval in longest(part)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] == max(interval.end - interval.start for interval in part.stream.intervals)
    assert [gap.reason for gap in part.stream.gaps] == ["paused"]
    assert [loss.samples for loss in part.stream.losses] == [480]


def test_the_page_says_model_thresholds_gaps_losses_and_the_caveat(tmp_path: Path) -> None:
    html = page(read_report([write_journal(tmp_path / "day.jsonl", with_a_gap_and_a_loss())], ()), "A day")
    for text in (
        ABOUT.model_sha256,
        "bundled-8",
        "0.38",
        "paused",
        "20 ms",
        "Longest stretches",
        "What followed on what",
    ):
        assert text in html, text
    assert html.count(CAVEAT) == 3, "at the top, on every printed page, and at the end"
    assert not re.search(r"(?:src|href)=|https?://|url\(", html), "nothing comes from elsewhere"


def test_a_day_s_page_is_lighter_than_a_megabyte(tmp_path: Path) -> None:
    busy = [INFO, *day(every_s=2.0)]
    html = page(read_report([write_journal(tmp_path / "day.jsonl", busy)], ()), "A day")
    assert len(html.encode()) < 200_000


def test_years_of_emotions_stay_light_too(tmp_path: Path) -> None:
    events = [INFO, *day(hours=24 * 20.0, every_s=60.0)]
    data = read_report([write_journal(tmp_path / "days.jsonl", events)], ())
    many = replace(data.parts[0], stream=replace(data.parts[0].stream, intervals=data.parts[0].stream.intervals * 10))
    (drawn,) = drawing([many])
    assert len(drawn["spans"]) <= 20_000
    assert drawn["left_out"] == len(many.stream.intervals) - len(drawn["spans"]) > 0


def test_recordings_have_a_part_each_and_live_days_one_together(tmp_path: Path) -> None:
    live = [write_journal(tmp_path / f"2026-11-2{n}.jsonl", [INFO, *day(0.5, begin=NOON + 86_400 * n)]) for n in (1, 2)]
    files = [
        write_journal(tmp_path / f"{name}.wav.jsonl", [INFO, *as_from_a_file(day(hours=1.5), TIME)])
        for name in ("a", "b")
    ]
    data = read_report([*live, *files], ())
    assert [part.title for part in data.parts] == ["desk", "a.wav", "b.wav"]
    assert [len(drawn["days"]) for drawn in drawing(data.parts)] == [2, 2, 2]
    assert drawing(data.parts)[1]["days"][1]["name"] == "from 1:00:00"


def test_names_and_labels_of_strangers_are_shown_and_not_run(tmp_path: Path) -> None:
    bad = '</script><img src=x onerror="alert(1)">'
    events = [replace(e, label=bad) if e.type == "transition" else e for e in day(hours=0.5)]  # type: ignore[call-arg]
    events = [replace(e, stream=bad) for e in events]  # type: ignore[call-arg]
    html = page(read_report([write_journal(tmp_path / "day.jsonl", [INFO, *events])], ()), bad)
    assert "<img" not in html
    assert html.count("</script>") == 2


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.real
def test_it_draws_tells_and_zooms_in_a_browser(tmp_path: Path, width: int) -> None:
    html = page(read_report([write_journal(tmp_path / "day.jsonl", with_a_gap_and_a_loss())], ()), "A day")
    said = said_by_chromium(html, tmp_path, width)
    assert said["days"] > 8  # type: ignore[operator]
    assert said["detail"] > 8  # type: ignore[operator]
    assert re.match(r"(\S+ 2026-11-\d\d )?\d\d:\d\d:\d\d\n\w+ up to 0\.90, [\d.]+ (s|min)", str(said["tip"]))
    assert said["closer"], "the button zooms"
    assert said["whole"], "and back"
    assert not said["wide"], "nothing is scrolled sideways"


def test_the_command_writes_the_page_and_refuses_what_it_cannot(tmp_path: Path) -> None:
    journal = write_journal(tmp_path / "day.jsonl", [INFO, *day(hours=0.1)])
    out = tmp_path / "x.html"
    result = CliRunner().invoke(app, ["report", str(journal), "-o", str(out)], catch_exceptions=False)
    assert result.stdout.strip() == str(out)
    assert out.read_text().startswith("<!doctype html>")
    with pytest.raises(StreamerError, match="cannot be written"):
        CliRunner().invoke(app, ["report", str(journal), "-o", str(tmp_path / "no" / "x.html")], catch_exceptions=False)
    with pytest.raises(StreamerError, match="No stream named hall"):
        CliRunner().invoke(app, ["report", str(journal), "--stream", "hall"], catch_exceptions=False)
