"""Write the intervals of a session for other programs: labels of editors, subtitles, diarisation, experiments."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

from streamer.names import slugify
from streamer.replacing import replacing
from streamer.sessions.session import Session

TrackFormat = Literal["audacity", "vtt", "srt", "rttm", "bids"]


@dataclass(frozen=True, slots=True)
class Mark:
    """An interval with a text, in seconds; of one stream."""

    start_s: float
    end_s: float
    text: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Track:
    """The intervals and gaps of one stream, in seconds on one time line."""

    stream: str
    duration_s: float
    emotions: tuple[Mark, ...]
    gaps: tuple[Mark, ...]


def tracks_of(session: Session) -> tuple[Track, ...]:
    """Return a track for each stream; marks are rounded to milliseconds, in order, and do not overlap."""
    begin = session.begin
    tracks = []
    for stream in session.streams:
        emotions = [Mark(*stream.seconds(i, begin), i.label, i.peak_confidence) for i in stream.intervals]
        # Of a recording only what its own clock says is placed: it has no gaps.
        gaps = [Mark(gap.start - begin, gap.end - begin, gap.reason) for gap in stream.gaps if stream.clock == "wall"]
        duration_s = round(max([stream.duration_s(begin), *(mark.end_s for mark in emotions)]), 3)
        tracks.append(Track(stream.name, duration_s, _in_order(emotions), _in_order(gaps)))
    return tuple(tracks)


def _in_order(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """Return the marks sorted and cut where the next one begins; those of no length are left out."""
    ordered = sorted(marks, key=lambda mark: mark.start_s)
    cut = []
    for index, mark in enumerate(ordered):
        next_s = ordered[index + 1].start_s if index + 1 < len(ordered) else mark.end_s
        start_s, end_s = round(max(0.0, mark.start_s), 3), round(min(mark.end_s, max(mark.start_s, next_s)), 3)
        if end_s > start_s:
            cut.append(Mark(start_s, end_s, mark.text, mark.confidence))
    return tuple(cut)


def write_track(session: Session, kind: TrackFormat, path: Path) -> list[Path]:
    """Write `path`, and what belongs beside it; return the files.

    Raises:
        OSError: a file cannot be written.
    """
    tracks = tracks_of(session)
    with replacing(path) as part:
        part.write_text(_FORMATS[kind](tracks), encoding="utf-8", newline="\n")
    if kind != "bids":
        return [path]
    side_car = path.with_suffix(".json")
    with replacing(side_car) as part:
        part.write_text(json.dumps(_bids_columns(session), indent=2) + "\n", encoding="utf-8")
    return [path, side_car]


def _marks(tracks: Sequence[Track]) -> list[tuple[Mark, str, str]]:
    """Return the emotions of all tracks in the order of time, each with its text, which names the stream if need be."""
    several = len(tracks) > 1
    marks = [(mark, track.stream) for track in tracks for mark in track.emotions]
    return [
        (mark, f"{stream}: {mark.text}" if several else mark.text, stream)
        for mark, stream in sorted(marks, key=lambda item: item[0].start_s)
    ]


def _audacity(tracks: Sequence[Track]) -> str:
    return "".join(f"{mark.start_s:.3f}\t{mark.end_s:.3f}\t{text}\n" for mark, text, _ in _marks(tracks))


def _vtt(tracks: Sequence[Track]) -> str:
    cues = [
        f"{_clock(mark.start_s, '.')} --> {_clock(mark.end_s, '.')}\n{escape(text, quote=False)}\n"
        for mark, text, _ in _marks(tracks)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _srt(tracks: Sequence[Track]) -> str:
    cues = [
        f"{number}\n{_clock(mark.start_s, ',')} --> {_clock(mark.end_s, ',')}\n{text.translate(_SRT_MARKUP)}\n"
        for number, (mark, text, _) in enumerate(_marks(tracks), 1)
    ]
    return "\n".join(cues)


_SRT_MARKUP = str.maketrans("<>", "‹›")  # players take tags out, and nothing escapes them


def _rttm(tracks: Sequence[Track]) -> str:
    """Return the emotion in the speaker's field and its highest confidence in the ninth."""
    return "".join(
        f"SPEAKER {slugify(stream)} 1 {mark.start_s:.3f} {mark.end_s - mark.start_s:.3f} <NA> <NA> "
        f"{'_'.join(mark.text.split())} {mark.confidence:.4f} <NA>\n"
        for mark, _, stream in _marks(tracks)
    )


def _bids(tracks: Sequence[Track]) -> str:
    rows = [(mark, track.stream) for track in tracks for mark in (*track.emotions, *track.gaps)]
    lines = ["onset\tduration\ttrial_type\tstream\tconfidence"]
    for mark, stream in sorted(rows, key=lambda row: row[0].start_s):
        kind = mark.text if mark.confidence is not None else f"gap: {mark.text}"
        confidence = "n/a" if mark.confidence is None else f"{mark.confidence:.4f}"
        lines.append(f"{mark.start_s:.3f}\t{mark.end_s - mark.start_s:.3f}\t{kind}\t{stream}\t{confidence}")
    return "\n".join(lines) + "\n"


def _bids_columns(session: Session) -> dict[str, object]:
    """Return the side-car that BIDS wants: what the columns mean, and what made them."""
    levels: dict[str, str] = {label: f"the voice sounds {label}, as estimated" for label in session.labels}
    levels["gap: …"] = "nothing was heard, and why"
    return {
        "onset": {"Description": "start, since the session began (live) or in the recording", "Units": "s"},
        "duration": {"Description": "how long it was held", "Units": "s"},
        "trial_type": {
            "LongName": "emotion",
            "Description": "what a voice sounds like, not a feeling",
            "Levels": levels,
        },
        "stream": {"Description": "name of the audio source"},
        "confidence": {"Description": "highest smoothed probability, 0 to 1"},
        "GeneratedBy": [
            {"Name": "streamer", "Version": info.version, "Model": info.model, "ModelSHA256": info.model_sha256}
            for info in session.infos
        ],
    }


def _clock(seconds: float, point: str) -> str:
    """Format `00:01:02.345`."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"


_FORMATS: dict[TrackFormat, Callable[[Sequence[Track]], str]] = {
    "audacity": _audacity,
    "vtt": _vtt,
    "srt": _srt,
    "rttm": _rttm,
    "bids": _bids,
}
