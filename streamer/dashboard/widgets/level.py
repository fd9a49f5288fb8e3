"""The level panel: a meter of the input level on a fixed dBFS scale."""

from streamer.dashboard.drawing import EIGHTHS_RIGHT, Line, Span, justify, merge_cells, share_to_cells
from streamer.dashboard.view import View
from streamer.dashboard.widgets.canvas import Canvas
from streamer.events import Window
from streamer.feed.interpret import CAPTURING
from streamer.feed.snapshot import Level, StreamView

FLOOR_DBFS = -72.0  # the left end of the scale: 12 steps of 6 dB below full scale
LOUD_DBFS = -18.0  # speech at a good level has its peaks above this
HOT_DBFS = -6.0  # close to full scale: about to clip
SCALE_DBFS = (-72, -60, -48, -36, -24, -12, 0)


class LevelMeter(Canvas):
    """Draws RMS as a bar, the newest peak behind it, peak hold, noise floor, and the number of clipped blocks."""

    def on_mount(self) -> None:
        self.border_title = "Level"

    def key(self, view: View) -> object:
        stream = view.stream
        return (stream and stream.level, _current_window(stream), view.absent)

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        level = view.stream.level if view.stream else None
        window = _current_window(view.stream)
        if height == 1:
            return [_one_line(level, window, width, view.absent)]
        return _two_lines(level, window, width, view.absent)


def _current_window(stream: StreamView | None) -> Window | None:
    """Return the newest window, a watcher's only source of the level; None while no audio is processed."""
    return stream.window if stream is not None and stream.status in CAPTURING else None


def dbfs_to_cells(dbfs: float, width: int) -> float:
    """Return how many of `width` cells a level fills on the scale from `FLOOR_DBFS` to 0 dBFS."""
    return share_to_cells((dbfs - FLOOR_DBFS) / -FLOOR_DBFS, width)


def meter(rms_dbfs: float, peak_dbfs: float, hold_dbfs: float | None, noise_dbfs: float | None, width: int) -> Line:
    """Draw the bar: █ up to the RMS, ▒ up to the newest peak, ┃ at the peak hold, ╎ at the noise floor."""
    full, rest = divmod(round(dbfs_to_cells(rms_dbfs, width) * 8), 8)
    peak = round(dbfs_to_cells(peak_dbfs, width))
    if peak > full:  # no eighths before the peak's pattern: the cell would have a hole
        full, rest = full + (rest >= 4), 0
    cells: list[Span] = []
    for x in range(width):
        zone = _zone(FLOOR_DBFS * (1 - (x + 0.5) / width))
        if x < full:
            cells.append(("█", zone))
        elif x == full and rest:
            cells.append((EIGHTHS_RIGHT[rest], zone))
        elif x < peak:
            cells.append(("▒", zone))
        else:
            cells.append(("─", "track"))
    if noise_dbfs is not None:
        _mark(cells, dbfs_to_cells(noise_dbfs, width), "╎", full)
    if hold_dbfs is not None:
        _mark(cells, dbfs_to_cells(hold_dbfs, width), "┃", full)
    return merge_cells(cells)


def scale(width: int) -> str:
    """Draw the numbers below the bar, each under its level; those that would touch are left out."""
    text = " " * width
    for dbfs in reversed(SCALE_DBFS):
        label = str(dbfs)
        at = round(dbfs_to_cells(dbfs, width - 1)) - len(label) // 2
        at = min(max(0, at), width - len(label))
        if at >= 0 and not text[max(0, at - 1) : at + len(label) + 1].strip():
            text = text[:at] + label + text[at + len(label) :]
    return text


def _mark(cells: list[Span], position: float, sign: str, full: int) -> None:
    if position <= 0 or not cells:
        return
    at = min(len(cells) - 1, int(position))
    cells[at] = (sign, f"{cells[at][1]} reverse") if at < full else (sign, "tick")


def _zone(dbfs: float) -> str:
    if dbfs < LOUD_DBFS:
        return "good"
    return "warn" if dbfs < HOT_DBFS else "bad"


def _bar(level: Level | None, window: Window | None, width: int) -> Line:
    if level is not None:
        return meter(level.rms_dbfs, level.peak_dbfs, level.hold_dbfs, level.noise_dbfs, width)
    if window is not None:  # a watcher gets the level once per window
        return meter(window.rms_dbfs, window.peak_dbfs, None, None, width)
    return (("─" * max(width, 0), "track"),)


def _figure(dbfs: float | None, absent: str) -> Span:
    return (absent.rjust(4), "muted") if dbfs is None else (f"{dbfs:4.0f}", "")


def _loudness(level: Level | None, window: Window | None, absent: str) -> Line:
    newest = level or window
    if newest is None:
        return ((absent.rjust(6), "muted"), (" dBFS", "muted"))
    return ((f"{newest.rms_dbfs:6.1f}", "strong"), (" dBFS", "muted"))


def _clipped(level: Level | None, absent: str) -> Line:
    if level is None:
        return (("CLIP ", "muted"), (absent, "muted"))
    return (("CLIP ", "bad strong"), (str(level.clipped), "bad strong")) if level.clipped else (("CLIP 0", "muted"),)


def _one_line(level: Level | None, window: Window | None, width: int, absent: str) -> Line:
    figures: Line = (
        *_loudness(level, window, absent),
        ("  hold ", "muted"), _figure(level.hold_dbfs if level else None, absent),
        ("  noise ", "muted"), _figure(level.noise_dbfs if level else None, absent),
        ("  ", ""), *_clipped(level, absent),
    )  # fmt: skip
    if width < 72:  # the bar matters more than the figures of its marks
        figures = (*_loudness(level, window, absent), ("  ", ""), *_clipped(level, absent))
    title: Line = (("Level ", "muted"),)
    room = max(0, width - len("Level ") - sum(len(text) for text, _ in figures) - 1)
    return justify((*title, *_bar(level, window, room)), figures, width)


def _two_lines(level: Level | None, window: Window | None, width: int, absent: str) -> list[Line]:
    newest = level or window
    peak = absent if newest is None else f"{newest.peak_dbfs:.1f}"
    above: Line = (*_loudness(level, window, absent), ("  peak ", "muted"), (peak.rjust(6), ""))
    below: Line = (
        ("hold ", "muted"), _figure(level.hold_dbfs if level else None, absent),
        ("  noise ", "muted"), _figure(level.noise_dbfs if level else None, absent),
        ("  ", ""), *_clipped(level, absent),
    )  # fmt: skip
    figures = max(sum(len(text) for text, _ in line) for line in (above, below))
    room = max(0, width - max(figures, 28) - 2)
    return [
        justify(_bar(level, window, room), above, width),
        justify(((scale(room), "muted"),), below, width),
    ]
