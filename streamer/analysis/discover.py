"""Which recordings there are, what they are labelled, and who speaks."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from streamer.corpora.corpus import SUFFIXES, known_clips
from streamer.errors import UsageError


@dataclass(frozen=True, slots=True)
class Recording:
    """One file."""

    path: Path
    name: str  # the path as the user knows it: relative to the folder that was given
    label: str  # empty where nothing tells it
    speaker: str  # empty where nothing tells it


def find_recordings(paths: Sequence[Path], table: Path | None = None) -> list[Recording]:
    """Every recording in the given folders and files, sorted by name.

    Label and speaker come from `table`, a CSV file (`path,label,speaker`) whose paths count from its own folder; else
    from the file's name, if its folder is named as a known corpus; else from the folders between the one given and the
    file: `…/label/file` or `…/speaker/label/file`. A file that is in the table only is taken too, so `paths` may be
    empty with a table.

    Raises:
        UsageError: a path does not exist, the table is wrong, or there is no recording.
    """
    found: dict[Path, Recording] = {}
    for path in paths:
        if path.is_dir():
            found.update((recording.path, recording) for recording in _in_folder(path))
        elif path.is_file():
            found[path] = Recording(path, path.name, "", "")
        else:
            raise UsageError(f"There is no {path}; give a folder of recordings or the recordings themselves.")
    recordings = _told_by_names(found.values())
    if table is not None:
        recordings = _told_by_table(recordings, table)
    if not recordings:
        raise UsageError(
            f"There is no recording in {', '.join(map(str, paths)) or table}; "
            f"what counts are files that end in {', '.join(sorted(SUFFIXES))}."
        )
    return sorted(recordings, key=lambda recording: (recording.name, recording.path))


def _in_folder(folder: Path) -> Iterable[Recording]:
    """Labels as the folders below `folder` tell them."""
    for path in folder.rglob("*"):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            inside = path.relative_to(folder)
            *_, speaker, label = ("", "", *inside.parent.parts)
            yield Recording(path, str(inside), label, speaker)


def _told_by_names(recordings: Iterable[Recording]) -> list[Recording]:
    """Labels and speakers that the names of files tell, folder by folder; the others stay as they are."""
    by_folder = defaultdict(list)
    for recording in recordings:
        by_folder[recording.path.parent].append(recording)
    told = []
    for members in by_folder.values():
        clips = _corpus_clips([recording.path for recording in members])
        for recording in members:
            label, speaker = clips.get(recording.path, (recording.label, recording.speaker))
            told.append(replace(recording, label=label, speaker=speaker))
    return told


def _corpus_clips(files: list[Path]) -> dict[Path, tuple[str, str]]:
    """Label and speaker of each clip, if most of a folder's files are named as in a known corpus."""
    clips = known_clips(files)
    if 2 * len(clips) < len(files):
        return {}
    return {clip.path: (clip.label, f"{clip.corpus}/{clip.speaker}") for clip in clips}


def _told_by_table(recordings: list[Recording], table: Path) -> list[Recording]:
    """The recordings with the table's labels and speakers; those that only the table names come in addition."""
    known = {recording.path.resolve(): recording for recording in recordings}
    for line, row in _rows(table):
        path = table.parent / (row["path"] or "").strip()
        if not (row["path"] or "").strip():
            raise UsageError(f"Line {line} of {table} has no path; give one, or remove the line.")
        recording = known.get(path.resolve(), Recording(path, row["path"].strip(), "", ""))
        known[path.resolve()] = replace(
            recording, label=(row["label"] or "").strip(), speaker=(row.get("speaker") or "").strip()
        )
    return list(known.values())


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and rows of a CSV file with the columns path and label, perhaps speaker."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows = [(reader.line_num, row) for row in reader]
            columns = set(reader.fieldnames or ())
    except FileNotFoundError as error:
        raise UsageError(f"There is no table {table}; give a CSV file with the columns path,label,speaker.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{table} is no CSV file in UTF-8; save it as one with path,label,speaker.") from error
    if not {"path", "label"} <= columns:
        raise UsageError(f"{table} lacks the columns path and label; its first line must read path,label,speaker.")
    return rows
