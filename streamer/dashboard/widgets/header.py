"""The lines at the top: what runs and how it is, then what it hears, or what is wrong and the cure."""

import textwrap
from dataclasses import dataclass

from streamer.dashboard.drawing import Line, apart, cut, label_ink, line_width, plain
from streamer.dashboard.view import STATUS_MARKS, View, duration, stopwatch
from streamer.dashboard.widgets.canvas import Canvas
from streamer.feed.snapshot import EnrolmentView, StreamView

TROUBLE_INKS = {"no signal": "warn", "behind": "warn", "mic lost": "bad"}
NOT_LISTENING = {
    "starting": "starting …",
    "warming": "listening, the first window is not full yet …",
    "paused": "capture is stopped, nothing is heard",
    "ended": "the recording is over",
}
MAX_SENTENCE_ROWS = 3  # a cure must be readable; a novel must not push the panels out


@dataclass(frozen=True, slots=True)
class Notice:
    """What the screen itself has to say."""

    frozen_s: float | None = None  # for how long the view has been frozen
    error: str = ""  # why there are no new figures


class StatusHeader(Canvas):
    """Lives on while the rest of the view is frozen: status and mute must never be out of date."""

    notice = Notice()

    def key(self, view: View) -> object:
        stream = view.stream
        frozen = self.notice.frozen_s
        return (
            self.notice.error, None if frozen is None else int(frozen), int(view.snapshot.uptime_s),
            stream and (stream.name, stream.device, stream.status, stream.detail, stream.state, stream.enrolment),
            len(view.snapshot.streams), view.labels, view.snapshot.broker, int(view.snapshot.time),
        )  # fmt: skip

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        lines = [top_line(view, self.notice, width), *lower_lines(view, self.notice, width)]
        if len(lines) != height:
            self.styles.height = len(lines)
        return lines


def top_line(view: View, notice: Notice, width: int) -> Line:
    """Program, stream and device on the left; frozen, status and uptime on the right."""
    right: Line = ((f"  {stopwatch(view.snapshot.uptime_s)}", "muted"),)
    if notice.error:
        right = ((" ✖ NO NEW DATA ", "bad reverse strong"), *right)
    elif view.stream is not None:
        sign, ink = STATUS_MARKS[view.stream.status]
        right = ((f" {sign} {view.stream.status.upper()} ", f"{ink} reverse strong"), *right)
    if notice.frozen_s is not None:
        right = ((f" ❄ VIEW FROZEN {duration(notice.frozen_s)} ", "accent reverse strong"), (" ", ""), *right)
    left: Line = (("streamer", "brand strong"),)
    if view.watching:
        left = (*left, (" watch", "brand"))
    if view.stream is not None:
        left = (*left, *_stream_name(view, view.stream))
        room = width - line_width(left) - line_width(right) - 4
        if view.stream.device and room > 3:
            left = (*left, ("  " + cut(plain(view.stream.device), room), "muted"))
    return apart(left, right, width)


def lower_lines(view: View, notice: Notice, width: int) -> list[Line]:
    """An error first, then what is wrong with the stream, else the emotion that is held and for how long."""
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
    if stream.status in NOT_LISTENING:
        return [((cut(plain(stream.detail or NOT_LISTENING[stream.status]), width), "muted"),)]
    return [apart(_headline(view, stream), _note(stream, width), width)]


def _sentence(sign: str, text: str, ink: str, width: int) -> list[Line]:
    rows = textwrap.wrap(plain(text), max(1, width - 2), max_lines=MAX_SENTENCE_ROWS, placeholder=" …")
    return [((f"{sign} " if row == 0 else "  ", ink), (part, ink)) for row, part in enumerate(rows or [""])]


def _stream_name(view: View, stream: StreamView) -> Line:
    names = [s.name for s in view.snapshot.streams]
    place = f" {names.index(stream.name) + 1}/{len(names)}" if len(names) > 1 else ""
    return (("  ", ""), (plain(stream.name), "strong"), (place, "muted"))


def _headline(view: View, stream: StreamView) -> Line:
    state = stream.state
    if state is None or state.label is None:
        return (("nobody speaks" if stream.status == "silence" else "no emotion is clear enough", "muted"),)
    ink = label_ink(view.labels.index(state.label)) if state.label in view.labels else "strong"
    sure = "" if state.confidence is None else f" {state.confidence:.2f}"
    lasting = duration(view.snapshot.time - state.since)
    return (("▌", ink), (plain(state.label), "strong"), (f"{sure}  for {lasting}", "muted"))


def _enrolment(enrolment: EnrolmentView, width: int) -> Line:
    heard = f"{enrolment.voice_s:.0f} of {enrolment.wanted_s:.0f} s"
    text = cut(" of speech, c cancels: talk in your everyday, neutral voice", max(0, width - len(heard) - 12))
    return (("▌", "accent"), ("your voice ", "accent strong"), (heard, "strong"), (text, "muted"))


def _note(stream: StreamView, width: int) -> Line:
    return (("  " + cut(plain(stream.detail), width // 2), "muted"),) if stream.detail else ()
