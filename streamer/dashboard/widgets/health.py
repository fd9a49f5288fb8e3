"""The health panel: latency, speed, losses, the broker and its messages."""

from streamer.constants import SAMPLE_RATE
from streamer.dashboard.drawing import Line, Span, join, line_width
from streamer.dashboard.view import View, count
from streamer.dashboard.widgets.canvas import Canvas
from streamer.events import Health
from streamer.feed.interpret import FAMILIARITY
from streamer.feed.snapshot import BrokerStatus
from streamer.plain_text import printable

NAME_CELLS = 10
FULL_RING = 0.5  # from this share on the worker is falling behind
GAP_S = 0.1  # shorter ones are not shown
REAL_TIME = 1.0  # a real-time factor of 1 or more cannot keep up

BROKER_MARKS: dict[BrokerStatus, Span] = {
    "online": ("●", "good"),
    "connecting": ("◔", "warn"),
    "offline": ("✖", "bad"),
    "off": ("○", "muted"),
}


Item = tuple[str, Line]  # a name and its figures


class HealthPanel(Canvas):
    """Draws one row per figure where there is room, else running text; the least important figures come last."""

    def on_mount(self) -> None:
        self.border_title = "Health"

    def key(self, view: View) -> object:
        stream, snapshot = view.stream, view.snapshot
        return (
            stream and stream.health,
            snapshot.broker,
            snapshot.torch_device,
            snapshot.info,
            view.absent,
            stream and stream.calibrated,
            stream and stream.familiarity,
        )

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        items = health_items(view)
        if height >= len(items):
            return table(items)
        return flow(items, width)


def health_items(view: View) -> list[Item]:
    """Return all figures, the most important first."""
    health, absent = view.stream.health if view.stream else None, view.absent
    missing: Line = ((absent, "muted"),)
    return [
        ("latency", _latency(health, absent) if health else missing),
        ("real-time", _real_time_factor(health.real_time_factor, absent) if health else missing),
        ("ring", _ring(health.ring_fill) if health else missing),
        ("lost", _losses(health) if health else missing),
        ("MQTT", _broker(view)),
        ("messages", _messages(view)),
        ("rate", _rate(health.effective_rate_hz, absent) if health else missing),
        ("model", _model(view)),
    ]


def table(items: list[Item]) -> list[Line]:
    """Draw one row per item, with aligned figures."""
    return [((name.ljust(NAME_CELLS), "muted"), *figures) for name, figures in items]


def flow(items: list[Item], width: int) -> list[Line]:
    """Draw as many items per row as fit."""
    rows: list[list[Line]] = [[]]
    for name, figures in items:
        item: Line = ((f"{name} ", "muted"), *figures)
        if rows[-1] and line_width(join([*rows[-1], item], _BETWEEN)) > width:
            rows.append([])
        rows[-1].append(item)
    return [join(row, _BETWEEN) for row in rows]


_BETWEEN: Span = ("  ", "")


def _latency(health: Health, absent: str) -> Line:
    def figure(value_ms: float | None) -> Span:
        return (absent, "muted") if value_ms is None else (f"{value_ms:.0f} ms", "")

    return (figure(health.latency_p50_ms), (" p95 ", "muted"), figure(health.latency_p95_ms))


def _real_time_factor(factor: float | None, absent: str) -> Line:
    if factor is None:
        return ((absent, "muted"),)
    return ((f"{factor:.2f}", ""),) if factor < REAL_TIME else ((f"{factor:.2f} too slow", "warn"),)


def _ring(fill: float) -> Line:
    return ((f"{fill:.0%}", ""),) if fill < FULL_RING else ((f"{fill:.0%} filling up", "warn"),)


def _losses(health: Health) -> Line:
    losses = (
        ("overflow", health.overflow_events),
        ("dropped", health.dropped_samples),
        ("skipped", health.skipped_windows),
    )
    parts: list[Line] = [
        ((f"{name} ", "muted"), (count(number), "bad strong" if number else "")) for name, number in losses
    ]
    if health.gap_s is not None and health.gap_s >= GAP_S:
        parts.append((("gaps ", "muted"), (f"{health.gap_s:,.1f} s", "bad strong")))
    return join(parts, (" ", ""))


def _rate(effective_hz: float | None, absent: str) -> Line:
    measured: Span = (absent, "muted") if effective_hz is None else (f"{count(round(effective_hz))} Hz", "")
    return (measured, (" → ", "muted"), (f"{count(SAMPLE_RATE)} Hz", ""))


def _model(view: View) -> Line:
    info = view.snapshot.info
    model: Line = ((printable(info.model) if info else view.absent, "" if info else "muted"),)
    device = view.snapshot.torch_device
    where: Line = ((" on ", "muted"), (printable(device), "")) if device else ()
    profile: Line = ((" voice profile", "accent"),) if view.stream and view.stream.calibrated else ()
    familiarity = view.stream.familiarity if view.stream else None
    voice: Line = ((" " + FAMILIARITY[familiarity], "warn"),) if familiarity in FAMILIARITY else ()
    return (*model, *where, *profile, *voice)


def _broker(view: View) -> Line:
    broker = view.snapshot.broker
    sign, ink = BROKER_MARKS[broker.status]
    if broker.status == "online" and broker.detail:  # connected, and yet something does not get through
        ink = "warn"
    line: Line = ((f"{sign} {broker.status}", ink),)
    if broker.status != "off":
        line = (*line, (" " + printable(broker.url), ""))
    if broker.detail:
        line = (*line, (" " + printable(broker.detail), "bad" if broker.refused else "muted"))
    return line


def _messages(view: View) -> Line:
    broker = view.snapshot.broker
    malformed: Line = ((" malformed ", "muted"), (count(broker.malformed), "bad strong")) if broker.malformed else ()
    refused: Line = ((" refused ", "muted"), (count(broker.refused), "bad strong")) if broker.refused else ()

    if broker.sent is None and broker.queued is None and broker.shed is None:
        return ((view.absent, "muted"), *malformed)

    def figure(number: int | None, bad: bool = False) -> Span:
        if number is None:
            return (view.absent, "muted")
        return (count(number), "bad strong" if bad and number else "")

    return (
        ("sent ", "muted"), figure(broker.sent),
        (" queued ", "muted"), figure(broker.queued),
        (" shed ", "muted"), figure(broker.shed, bad=True), *refused, *malformed,
    )  # fmt: skip
