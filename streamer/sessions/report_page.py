"""The report as one HTML page that needs no network: tables made here, timelines drawn by the script inside it."""

import json
import time
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from streamer import __version__
from streamer.sessions.report_data import (
    MOST_DRAWN,
    NONE,
    Part,
    ReportData,
    drawing,
    followed,
    held_seconds,
    longest,
)

CAVEAT = (
    "These labels estimate what a voice sounds like, not what a person feels, and they are often wrong: the model was "
    "trained on acted speech. They must not decide anything about anyone. In the EU, inferring emotions from voices at "
    "work and in education is prohibited (AI Act, Art. 5(1)(f))."
)
LISTED = 50  # gaps, and losses, of a stream; the rest is counted
COLOURS = 8


def page(data: ReportData, title: str) -> str:
    """Return the page.

    Everything that was read, names and labels, is escaped; a content security policy lets nothing be loaded.
    """
    folder = Path(__file__).parent
    style = (folder / "report.css").read_text(encoding="utf-8")
    script = (folder / "report.js").read_text(encoding="utf-8")
    drawn = json.dumps(drawing(data.parts), separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime())
    body = "\n".join(_section(index, part) for index, part in enumerate(data.parts))
    damaged = f" {data.damaged:,} lines could not be read and are left out." if data.damaged else ""
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>{escape(title)}</title>
<style>{style}
@page {{ margin: 14mm 12mm 22mm; @bottom-left {{ font-size: 8px; content: "{CAVEAT}"; }} }}</style>
<h1>{escape(title)}</h1>
<p class="soft">{escape(_period(data.parts))}. Made {made} by streamer {__version__}.{damaged}</p>
<p class="caveat"><b>Read this first.</b> {escape(CAVEAT)}</p>
{body}
{_models(data)}
<footer>{escape(CAVEAT)}</footer>
<div id="tip"></div>
<script type="application/json" id="data">{drawn}</script>
<script>{script}</script>
</html>
"""


def _section(index: int, part: Part) -> str:
    stream = part.stream
    heard_s, held = stream.heard_s, held_seconds(part)
    an_hour = f"{3600 * len(stream.intervals) / heard_s:.1f} an hour" if heard_s >= 1 else ""
    lost_ms = sum(loss.samples for loss in stream.losses) / 24
    skipped = f"{_count(stream.skipped_windows, 'window')} skipped, {_count(stream.overflow_events, 'overflow')}"
    figures = (
        ("heard", duration(heard_s), ""),
        ("speech", duration(stream.speech_s), _percent(stream.speech_s, heard_s)),
        ("emotions", f"{len(stream.intervals):,}", an_hour),
        ("not heard", duration(sum(gap.end - gap.start for gap in stream.gaps)), _count(len(stream.gaps), "gap")),
        ("lost", f"{lost_ms:,.0f} ms", skipped),
    )
    cards = "".join(f"<div>{name}<b>{escape(value)}</b>{escape(note)}</div>" for name, value, note in figures)
    left_out = drawing_note(part)
    return f"""<section data-part="{index}">
<h2>{escape(part.title)}</h2>
<div class="figures">{cards}</div>
<h3>Share of the time heard</h3>
{_bar(part, held, heard_s)}
<h3>Timeline</h3>
<canvas class="days" role="img" aria-label="one row a day, or an hour of a recording"></canvas>
<p class="soft hint">Hover for times; drag over a row, or click, to look closer. Below each row: how much
 speech there was. Grey: nothing was heard. Red: audio was lost.{left_out}
 <button type="button" class="closer">closer</button> <button type="button" class="wider">wider</button>
 <button type="button" class="whole">whole</button></p>
<canvas class="detail" tabindex="0" role="img" aria-label="the chosen stretch, a lane a label"></canvas>
<div class="columns"><div>{_longest(part)}</div><div>{_followed(part)}</div></div>
<div class="columns"><div>{_gaps(part)}</div><div>{_losses(part)}</div></div>
</section>"""


def drawing_note(part: Part) -> str:
    """Return a sentence where the session is too long for every emotion to be drawn; the figures hold them all."""
    many = len(part.stream.intervals) > MOST_DRAWN
    return " Of so long a session only the longest emotions are drawn." if many else ""


def _bar(part: Part, held: dict[str, float], heard_s: float) -> str:
    colours = {label: f"l{index % COLOURS}" for index, label in enumerate(part.labels)} | {NONE: "none"}
    shown = {label: seconds for label, seconds in held.items() if seconds > 0}
    pieces = "".join(
        f'<span class="{colours[label]}" style="flex:{seconds:.3f}" title="{escape(label)}"></span>'
        for label, seconds in shown.items()
    )
    entries = "".join(
        f'<li><i class="{colours[label]}"></i>{escape(label)} {_percent(seconds, heard_s)} ({duration(seconds)})</li>'
        for label, seconds in held.items()
        if seconds > 0 or label != NONE
    )
    return f'<div class="bar">{pieces}</div><ul class="legend">{entries}</ul>'


def _longest(part: Part) -> str:
    rows = []
    for interval in longest(part):
        start_s, end_s = part.stream.seconds(interval, part.begin)
        at = _moment(part, interval.start, start_s)
        rows.append((interval.label, duration(end_s - start_s), at, f"{interval.peak_confidence:.2f}"))
    return _table("Longest stretches", ("emotion", "for", "from", "up to"), rows)


def _followed(part: Part) -> str:
    pairs = followed(part)
    before = [label for label in (*part.labels, NONE) if any(pairs[label, after] for after in part.labels)]
    after = [label for label in part.labels if any(pairs[other, label] for other in before)]
    rows = [
        (label, *(f"{pairs[label, other]:,}" if pairs[label, other] else "" for other in after)) for label in before
    ]
    return _table("What followed on what", ("", *after), rows)


def _gaps(part: Part) -> str:
    gaps = part.stream.gaps
    rows = [(_moment(part, gap.start, 0.0), duration(gap.end - gap.start), gap.reason) for gap in gaps[:LISTED]]
    return _table("Gaps", ("from", "for", "why"), rows, len(gaps) - len(rows))


def _losses(part: Part) -> str:
    losses = part.stream.losses
    rows = [(_moment(part, loss.time, loss.end_s), f"{loss.samples / 24:,.0f} ms") for loss in losses[:LISTED]]
    return _table("Lost audio", ("before", "length"), rows, len(losses) - len(rows))


def _models(data: ReportData) -> str:
    rows = []
    for info in data.infos:
        thresholds = [f"{share:.2f}" if share is not None else "–" for share in (info.threshold, info.enter, info.exit)]
        shown = (info.version, info.model, info.model_sha256, f"{info.window_s:g} s", f"{info.hop_s:g} s", *thresholds)
        rows.append(shown)
    headings = ("streamer", "model", "SHA-256", "window", "hop", "claims from", "starts from", "ends below")
    return f"<section>{_table('What made the labels', headings, rows)}</section>"


def _table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], more: int = 0) -> str:
    lines = [
        "".join(f'<td class="wrap">{escape(c)}' if len(c) > 40 else f"<td>{escape(c)}" for c in row) for row in rows
    ]
    if not lines:
        return f'<h3>{escape(title)}</h3><p class="soft">none</p>'
    rest = f'<p class="soft">and {more:,} more</p>' if more > 0 else ""
    head = "".join(f"<th>{escape(heading)}" for heading in headings)
    body = "".join(f"<tr>{line}" for line in lines)
    return f'<h3>{escape(title)}</h3><div class="scroll"><table><tr>{head}{body}</table></div>{rest}'


def _moment(part: Part, moment: float, position_s: float) -> str:
    if part.stream.clock == "wall":
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    whole = int(position_s)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _period(parts: Sequence[Part]) -> str:
    live = [part.stream for part in parts if part.stream.clock == "wall"]
    if not live:
        return f"{len(parts):,} recordings" if len(parts) != 1 else "A recording"
    first, last = min(stream.begin for stream in live), max(stream.end for stream in live)
    shown = [time.strftime("%Y-%m-%d %H:%M", time.localtime(moment)) for moment in (first, last)]
    return f"{shown[0]} to {shown[1]}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _percent(part_s: float, whole_s: float) -> str:
    return f"{100 * part_s / whole_s:.1f} %" if whole_s > 0 else "–"


def duration(seconds: float) -> str:
    """Format `2 h 05 min`, `3.4 min`, `12.0 s`."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{int(seconds // 3600)} h {int(seconds // 60) % 60:02d} min"
