"""Recordings without labels of emotion, for training: natural speech, and what is no speech."""

from collections.abc import Sequence
from pathlib import Path

import soundfile

from streamer.corpora.corpus import SUFFIXES, Clip, read_corpus
from streamer.errors import UsageError

_STREAM_S = 60.0  # short recordings of a folder follow one another up to this length


def natural_streams(paths: Sequence[Path]) -> list[list[Clip]]:
    """Return groups of recordings, each a stream: a speaker's, where a CSV file names speakers, or a folder's in order.

    Raises:
        UsageError: there is no recording, or a CSV file is wrong.
    """
    groups: list[list[Clip]] = []
    for path in paths:
        if path.is_file() and path.suffix.lower() == ".csv":
            by_speaker: dict[str, list[Clip]] = {}
            for clip in read_corpus(path).clips:
                by_speaker.setdefault(clip.speaker, []).append(clip)
            groups += by_speaker.values()
        else:
            groups += _in_order(path)
    return groups


def _in_order(path: Path) -> list[list[Clip]]:
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
    if not files or not path.exists():
        raise UsageError(f"There is no recording {path}; give a file, a folder of files, or a CSV file.")
    name = path.stem or path.name
    groups: list[list[Clip]] = [[]]
    seconds = 0.0
    for file in files:
        if seconds >= _STREAM_S:
            groups.append([])
            seconds = 0.0
        listed = file.relative_to(path).as_posix() if path.is_dir() else file.name
        groups[-1].append(Clip(file, name, "neutral", str(len(groups)), listed))
        seconds += soundfile.info(file).duration
    return groups
