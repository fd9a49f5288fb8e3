"""The figures of a report: shares, days, transitions, longest stretches, gaps and losses of each stream."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamer.events import Info, Window
from streamer.sessions.journal import JournalReader
from streamer.sessions.session import Interval, Session, StreamSession, only_streams, read_session

DAY_S = 86_400
DIRECT_S = 10.0  # an emotion that begins so soon after another one follows on it; else on none
LONGEST = 10
MOST_DRAWN = 20_000  # emotions, of all streams, so that a page of many weeks stays light
MOST_MARKS = 2_000  # gaps, and losses, of a stream
NONE = "none"


@dataclass(frozen=True, slots=True)
class Part:
    """A stream of the report, and where it comes from."""

    title: str
    stream: StreamSession
    begin: float  # what its seconds count from
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportData:
    """All that the page shows."""

    parts: tuple[Part, ...]
    infos: tuple[Info, ...]
    damaged: int  # lines that could not be read


def read_report(paths: Sequence[Path], streams: Sequence[str]) -> ReportData:
    """Read journals: those of live sound as one session, each of a recording by itself.

    Raises:
        StreamerError: one cannot be read, or there is no event in it.
    """
    parts: list[Part] = []
    infos: list[Info] = []
    damaged = 0
    live = [path for path in paths if not _is_of_a_recording(path)]
    groups = ([live] if live else []) + [[path] for path in paths if path not in live]
    for group in groups:
        reader = JournalReader(group)
        session = read_session(only_streams(reader, streams))
        damaged += reader.damaged
        infos += session.infos
        parts += [_part(session, stream, group) for stream in session.streams]
    return ReportData(tuple(parts), _models(infos), damaged)


def held_seconds(part: Part) -> dict[str, float]:
    """Return how long each label was held, and none of them while something was heard."""
    held = dict.fromkeys(part.labels, 0.0)
    for interval in part.stream.intervals:
        start_s, end_s = part.stream.seconds(interval, part.begin)
        held[interval.label] += max(0.0, end_s - start_s)
    return {**held, NONE: max(0.0, part.stream.heard_s - sum(held.values()))}


def followed(part: Part) -> Counter[tuple[str, str]]:
    """Return how often each label followed on another one, or on none."""
    pairs: Counter[tuple[str, str]] = Counter()
    before: Interval | None = None
    for interval in part.stream.intervals:
        start_s, _ = part.stream.seconds(interval, part.begin)
        direct = before is not None and start_s - part.stream.seconds(before, part.begin)[1] < DIRECT_S
        pairs[before.label if before and direct else NONE, interval.label] += 1
        before = interval
    return pairs


def longest(part: Part) -> list[Interval]:
    """Return the longest stretches of one emotion, longest first."""

    def length_s(interval: Interval) -> float:
        start_s, end_s = part.stream.seconds(interval, part.begin)
        return end_s - start_s

    return sorted(part.stream.intervals, key=length_s, reverse=True)[:LONGEST]


def drawing(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Return what the page's script draws, as JSON: seconds since each part's begin, to a tenth."""
    share = MOST_DRAWN / max(1, sum(len(part.stream.intervals) for part in parts))
    return [_drawn(part, min(1.0, share)) for part in parts]


def _drawn(part: Part, share: float) -> dict[str, Any]:
    stream = part.stream
    spans = [(*stream.seconds(i, part.begin), i) for i in stream.intervals]
    if share < 1:  # the longest ones, which are all that can be seen from so far away
        spans = sorted(spans, key=lambda span: span[1] - span[0], reverse=True)[: int(len(spans) * share)]
    labels = list(part.labels)
    wall = stream.clock == "wall"
    first = int(part.begin // 60) if wall else 0
    return {
        "title": part.title,
        "labels": labels,
        "length": round(stream.duration_s(part.begin), 1),
        "days": _days(part.begin, stream.end) if wall else _hours(stream.audio_s),
        "spans": [
            [round(a, 1), round(b - a, 1), labels.index(i.label), round(100 * i.peak_confidence)]
            for a, b, i in sorted(spans, key=lambda span: span[0])
        ],
        "left_out": len(stream.intervals) - len(spans),
        "gaps": [
            [round(g.start - part.begin, 1), round(g.end - g.start, 1), g.reason] for g in stream.gaps[:MOST_MARKS]
        ]
        if wall
        else [],
        "losses": [
            [round((loss.time - part.begin) if wall else loss.end_s, 1), round(loss.samples / 24)]
            for loss in stream.losses[:MOST_MARKS]
        ],
        # A digit a minute: the share of speech; a blank where nothing was heard.
        "speech": _speech(stream, first),
        "speech_from": round(first * 60 - part.begin, 1) if wall else 0,
    }


def _speech(stream: StreamSession, first: int) -> str:
    if not stream.minutes:
        return ""
    known = {minute.number: minute for minute in stream.minutes}
    digits = []
    for number in range(first, min(stream.minutes[-1].number, first + 400 * 1440) + 1):
        minute = known.get(number)
        digits.append(str(min(9, int(10 * minute.speech_s / minute.heard_s))) if minute and minute.heard_s else " ")
    return "".join(digits)


def _days(begin: float, end: float) -> list[dict[str, Any]]:
    """Return each day by local time: its name, where it starts and ends, and its hours, which may be 23 or 25."""
    days = []
    moment = time.localtime(begin)
    for number in range(10_000):
        start = time.mktime((moment.tm_year, moment.tm_mon, moment.tm_mday + number, 0, 0, 0, 0, 0, -1))
        stop = time.mktime((moment.tm_year, moment.tm_mon, moment.tm_mday + number + 1, 0, 0, 0, 0, 0, -1))
        if start > end:
            break
        hours = [start + 3600 * hour for hour in range(round((stop - start) / 3600))]
        days.append(
            {
                "name": time.strftime("%a %Y-%m-%d", time.localtime(start)),
                "from": round(start - begin, 1),
                "to": round(stop - begin, 1),
                "ticks": [[round(hour - begin, 1), time.strftime("%H:%M", time.localtime(hour))] for hour in hours],
            }
        )
    return days


def _hours(length_s: float) -> list[dict[str, Any]]:
    """Return a recording's rows: an hour each, or all of it where it is shorter."""
    row_s = 3600.0 if length_s > 3600 else max(60.0, length_s)
    step_s = 300 if row_s > 1200 else 60 if row_s > 120 else 10
    rows = []
    for number in range(max(1, min(1_000, -int(-length_s // row_s)))):
        start = number * row_s
        ticks = [start + second for second in range(0, int(row_s), step_s)]
        rows.append(
            {
                "name": f"from {_clock(start)}",
                "from": start,
                "to": start + row_s,
                "ticks": [[tick, _clock(tick)] for tick in ticks],
            }
        )
    return rows


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _part(session: Session, stream: StreamSession, group: Sequence[Path]) -> Part:
    if stream.clock == "audio":
        name = group[0].name.removesuffix(".gz").removesuffix(".jsonl")
        title = name if len(session.streams) == 1 else f"{name}: {stream.name}"
        return Part(title, stream, 0.0, session.labels)
    return Part(stream.name, stream, session.begin, session.labels)


def _is_of_a_recording(path: Path) -> bool:
    """Return whether the first window has no latency: it was computed from a file."""
    for event in JournalReader([path], lambda line: b'"type":"window"' in line[:40] or b'"type":"info"' in line[:40]):
        if isinstance(event, Window):
            return event.latency_ms is None
    return False


def _models(infos: Iterable[Info]) -> tuple[Info, ...]:
    """Return one info for each model and each set of thresholds that ran."""
    found: dict[tuple[object, ...], Info] = {}
    for info in infos:
        key = (info.version, info.model, info.model_sha256, info.window_s, info.hop_s, info.threshold, info.enter)
        found.setdefault((*key, info.exit), info)
    return tuple(found.values())
