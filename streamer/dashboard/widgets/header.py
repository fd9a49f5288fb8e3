"""The header: program, stream and status, then the current emotion, or a problem with its cure."""

import textwrap
from dataclasses import dataclass

from streamer.dashboard.drawing import Line, justify, label_ink, line_width, truncate
from streamer.dashboard.view import STATUS_MARKS, View, duration, elapsed
from streamer.dashboard.widgets.canvas import Canvas
from streamer.feed.interpret import FAMILIARITY, is_held
from streamer.feed.snapshot import EnrolmentView, StreamView
from streamer.plain_text import printable

TROUBLE_INKS = {"no signal": "warn", "behind": "warn", "no device": "bad", "mic lost": "bad", "source lost": "bad"}
IDLE_SENTENCES = {
    "starting": "starting …",
    "warming": "filling the first window …",
    "paused": "capture is stopped",
    "ended": "the recording is over",
}
OLD_S = 300.0  # a window so old is no window of the present
MAX_SENTENCE_ROWS = 3  # enough to read a cure, without pushing the panels off the screen


@dataclass(frozen=True, slots=True)
class Notice:
    """Holds what the header shows besides the view."""

    frozen_s: float | None = None  # how long the view has been frozen
    error: str = ""  # why no new snapshot arrives


class StatusHeader(Canvas):
    """Shows status and current emotion; never frozen, because status and mute must not be out of date."""

    notice = Notice()

    def key(self, view: View) -> object:
        stream = view.stream
        frozen = self.notice.frozen_s
        return (
            self.notice.error, None if frozen is None else int(frozen), int(view.snapshot.uptime_s),
            stream and (stream.name, stream.device, stream.status, stream.detail, stream.state, stream.enrolment),
            stream and stream.familiarity,
            view.snapshot.info and view.snapshot.info.clips,
            len(view.snapshot.streams), view.labels, view.snapshot.broker, int(view.snapshot.time),
        )  # fmt: skip

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        lines = [top_line(view, self.notice, width), *message_lines(view, self.notice, width)]
        if len(lines) != height:
            self.styles.height = len(lines)
        return lines


def top_line(view: View, notice: Notice, width: int) -> Line:
    """Draw program, stream and device on the left; frozen, status and uptime on the right."""
    right: Line = ((f"  {elapsed(view.snapshot.uptime_s)}", "muted"),)
    if notice.error:
        right = ((" ✖ NO NEW DATA ", "bad reverse strong"), *right)
    elif view.stream is not None:
        sign, ink = STATUS_MARKS[view.stream.status]
        right = ((f" {sign} {view.stream.status.upper()} ", f"{ink} reverse strong"), *right)
    if view.snapshot.info is not None and view.snapshot.info.clips:
        right = ((" ● KEEPS AUDIO ", "bad reverse strong"), (" ", ""), *right)
    if notice.frozen_s is not None:
        right = ((f" ❄ VIEW FROZEN {duration(notice.frozen_s)} ", "accent reverse strong"), (" ", ""), *right)
    left: Line = (("streamer", "brand strong"),)
    if view.watching:
        left = (*left, (" watch", "brand"))
    if view.stream is not None:
        left = (*left, *_stream_name(view, view.stream))
        room = width - line_width(left) - line_width(right) - 4
        if view.stream.device and room > 3:
            left = (*left, ("  " + truncate(printable(view.stream.device), room), "muted"))
    return justify(left, right, width)


def message_lines(view: View, notice: Notice, width: int) -> list[Line]:
    """Draw the most urgent of: an error, a problem of the stream, enrolment, the current emotion and its duration."""
    stream = view.stream
    if notice.error:
        return _sentence("✖", notice.error, "bad", width)
    if stream is None:
        return [()]
    if stream.status in TROUBLE_INKS:
        return _sentence(
            STATUS_MARKS[stream.status][0], stream.detail or stream.status, TROUBLE_INKS[stream.status], width
        )
    if stream.enrolment is not None:
        return [_enrolment(stream.enrolment, width)]
    if stream.status in IDLE_SENTENCES:
        return [((truncate(printable(stream.detail or IDLE_SENTENCES[stream.status]), width), "muted"),)]
    return [justify(_headline(view, stream), _note(stream, width), width)]


def _sentence(sign: str, text: str, ink: str, width: int) -> list[Line]:
    rows = textwrap.wrap(printable(text), max(1, width - 2), max_lines=MAX_SENTENCE_ROWS, placeholder=" …")
    return [((f"{sign} " if row == 0 else "  ", ink), (part, ink)) for row, part in enumerate(rows or [""])]


def _stream_name(view: View, stream: StreamView) -> Line:
    names = [s.name for s in view.snapshot.streams]
    place = f" {names.index(stream.name) + 1}/{len(names)}" if len(names) > 1 else ""
    return (("  ", ""), (printable(stream.name), "strong"), (place, "muted"))


def _headline(view: View, stream: StreamView) -> Line:
    state = stream.state
    if state is None or state.label is None:
        return _unclaimed(stream)
    ink = label_ink(view.labels.index(state.label)) if state.label in view.labels else "strong"
    sure = "" if state.confidence is None else f" {state.confidence:.2f}"
    now = view.snapshot.time
    if stream.window is not None and stream.window.time < now - OLD_S:
        now = stream.window.time  # a recording with a start time, or a stream that sends no more
    lasting = duration(now - state.since)
    if is_held(stream):
        return (("no speech", "muted"), (f"  {printable(state.label)} held from before, for {lasting}", "muted"))
    return (("▌", ink), (printable(state.label), "strong"), (f"{sure}  for {lasting}", "muted"))


def _unclaimed(stream: StreamView) -> Line:
    """Draw what stands in the place of an emotion: silence, or what the unsure model leans to."""
    if stream.status == "silence":
        return (("no speech", "muted"),)
    if stream.state is None or stream.state.leaning is None:
        return (("no emotion is clear enough", "muted"),)
    sure = "" if stream.state.leaning_confidence is None else f" {stream.state.leaning_confidence:.2f}"
    return ((f"leaning {printable(stream.state.leaning)}{sure}", "muted"),)


def _enrolment(enrolment: EnrolmentView, width: int) -> Line:
    title = "voice profile "
    progress = f"{enrolment.voice_s:.0f} of {enrolment.wanted_s:.0f} s"
    room = max(0, width - len("▌") - len(title) - len(progress))
    text = truncate(" of speech, c cancels: talk in your everyday, neutral voice", room)
    return (("▌", "accent"), (title, "accent strong"), (progress, "strong"), (text, "muted"))


def _note(stream: StreamView, width: int) -> Line:
    note = stream.detail or FAMILIARITY.get(stream.familiarity, "")
    return (("  " + truncate(printable(note), width // 2), "muted"),) if note else ()
