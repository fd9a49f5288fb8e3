"""Write the intervals of a session as annotation tiers of phonetics and interaction research: Praat and ELAN."""

import time
from collections.abc import Sequence
from pathlib import Path

from streamer.events import iso_time
from streamer.sessions.session import Session
from streamer.sessions.tracks import Mark, Track, tracks_of


def write_textgrid(session: Session, path: Path) -> None:
    """Write a Praat TextGrid: a tier for each stream, and one for its gaps where it has any.

    Raises:
        OSError: the file cannot be written.
    """
    from praatio import textgrid
    from praatio.data_classes.interval_tier import IntervalTier

    tracks = tracks_of(session)
    longest_s = max([0.001, *(track.duration_s for track in tracks)])
    grid = textgrid.Textgrid()
    for name, marks in _tiers(tracks):
        entries = [(mark.start_s, mark.end_s, mark.text) for mark in marks]
        grid.addTier(IntervalTier(name, entries, 0, longest_s))
    grid.save(str(path), format="long_textgrid", includeBlankSpaces=True)


def write_eaf(session: Session, path: Path) -> None:
    """Write an ELAN document: a tier for each stream, and one for its gaps where it has any.

    Raises:
        OSError: the file cannot be written.
    """
    from pympi import Elan

    document = Elan.Eaf(author="streamer")
    document.adocument["DATE"] = iso_time(time.time())  # pympi's own is none where the zone is off by half an hour
    for name, marks in _tiers(tracks_of(session)):
        document.add_tier(name)
        for mark in marks:
            document.add_annotation(name, round(mark.start_s * 1000), round(mark.end_s * 1000), mark.text)
    document.remove_tier("default")
    for info in session.infos:
        document.add_property("model", f"{info.model} {info.model_sha256}")
    document.to_file(str(path))


def _tiers(tracks: Sequence[Track]) -> list[tuple[str, tuple[Mark, ...]]]:
    tiers: list[tuple[str, tuple[Mark, ...]]] = []
    for track in tracks:
        tiers.append((track.stream, track.emotions))
        if track.gaps:
            tiers.append((f"{track.stream} gaps", track.gaps))
    return tiers
