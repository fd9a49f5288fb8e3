"""The JSON that the page gets: the newest state, the event log, and the past."""

import json
from collections.abc import Sequence
from typing import Any

from streamer.feed.interpret import CAPTURING, FAMILIARITY, current_label, inferred, is_held, labels_of
from streamer.feed.snapshot import Snapshot, StreamView, TimelinePoint
from streamer.feed.track import span_end

LOG_LINES = 60
LONGEST_S = 60.0  # of one span: its confidence is a mean
JOINED_S = 0.5  # a hole between two points that is none


def state_json(snapshot: Snapshot, run: str) -> bytes:
    """Return what changes all the time. `run` tells the page that another program answers now."""
    first = snapshot.streams[0] if snapshot.streams else None
    return _json(
        {
            "run": run,
            "time": round(snapshot.time, 3),
            "uptime_s": round(snapshot.uptime_s),
            "labels": labels_of(snapshot, first),
            "model": snapshot.info.model if snapshot.info else None,
            "broker": {"status": snapshot.broker.status, "detail": snapshot.broker.detail},
            "streams": [_stream(stream, snapshot.time) for stream in snapshot.streams],
        }
    )


def log_json(snapshot: Snapshot) -> bytes:
    """Return the newest lines of the event log."""
    return _json(
        [
            {"time": line.time, "kind": line.kind, "stream": line.stream, "text": line.text, "count": line.count}
            for line in snapshot.log[-LOG_LINES:]
        ]
    )


def past_json(snapshot: Snapshot, run: str) -> bytes:
    """Return the past of every stream: spans in which a label was held, and moments at which audio was lost."""
    return _json(
        {
            "run": run,
            "streams": {
                stream.name: {
                    "since": stream.timeline[0].time if stream.timeline else snapshot.time,
                    "spans": held_spans(stream.timeline, stream.now(snapshot.time)),
                    "lost": [round(point.time, 2) for point in stream.timeline if point.lost],
                }
                for stream in snapshot.streams
            },
        }
    )


def held_spans(points: Sequence[TimelinePoint], now: float) -> list[list[Any]]:
    """Join points with one label to spans `[start, end, label, confidence]`, oldest first."""
    spans: list[list[Any]] = []
    weight = 0.0  # seconds of the span that is being joined
    for index, point in enumerate(points):
        if point.label is None:
            continue
        end = span_end(points, index, now)
        length_s = max(end - point.time, 1e-3)
        sure = 1.0 if point.confidence is None else point.confidence
        last = spans[-1] if spans else None
        if last and last[2] == point.label and point.time - last[1] < JOINED_S and end - last[0] < LONGEST_S:
            last[3] = (last[3] * weight + sure * length_s) / (weight + length_s)
            last[1], weight = end, weight + length_s
        else:
            spans.append([point.time, end, point.label, sure])
            weight = length_s
    return [[round(start, 2), round(end, 2), label, round(sure, 3)] for start, end, label, sure in spans]


def _stream(stream: StreamView, time: float) -> dict[str, Any]:
    window = stream.window if stream.status in CAPTURING else None
    health, state, sure = stream.health, stream.state, inferred(stream)
    label = current_label(stream)
    raw = window.probs if window and sure else None
    smoothed = dict(stream.smoothed) if stream.smoothed and sure else raw
    leaning = state.leaning if state and label is None and stream.status in CAPTURING else None
    return {
        "name": stream.name,
        "now": round(stream.now(time), 3),
        "status": stream.status,
        "detail": stream.detail or FAMILIARITY.get(stream.familiarity, ""),
        "device": stream.device,
        "level": _level(stream),
        "probs": _probs(smoothed),
        "raw": _probs(raw),
        "label": label,
        "confidence": state.confidence if state and label else None,
        "since": state.since if state else None,
        "held": is_held(stream),
        "leaning": leaning,
        "leaning_confidence": state.leaning_confidence if state and leaning else None,
        "calibrated": stream.calibrated,
        "seq": window.seq if window else None,
        "lost": bool(window and window.dropped_samples),
        "latency_ms": health.latency_p50_ms if health else None,
        "losses": [health.overflow_events, health.dropped_samples, health.skipped_windows] if health else None,
    }


def _level(stream: StreamView) -> dict[str, Any] | None:
    if stream.level is not None:
        level = stream.level
        return {
            "rms": round(level.rms_dbfs, 1),
            "peak": round(level.peak_dbfs, 1),
            "hold": round(level.hold_dbfs, 1),
            "noise": round(level.noise_dbfs, 1),
            "clipped": level.clipped,
        }
    window = stream.window
    if window is None or stream.status not in CAPTURING:
        return None
    return {"rms": round(window.rms_dbfs, 1), "peak": round(window.peak_dbfs, 1)}


def _probs(probs: Any) -> dict[str, float] | None:
    return None if probs is None else {label: round(float(p), 3) for label, p in probs.items()}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
