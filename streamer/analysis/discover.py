"""Find recordings in folders and files, with label and speaker from a table, file names or folder names."""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from streamer.corpora.corpus import SUFFIXES, known_clips
from streamer.errors import UsageError
from streamer.spreadsheet import csv_text

FOLDERS, TABLE = "folder names", "the table"


@dataclass(frozen=True, slots=True)
class Recording:
    """One audio file with its label and speaker."""

    path: Path
    name: str  # path for display: relative to the folder that was given
    label: str  # empty if unknown
    speaker: str  # empty if unknown
    corpus: str = ""  # whose naming the file's name follows; empty if unknown
    labelled_by: str = ""  # "crema-d", "folder names", "the table"; empty without a label


def find_recordings(paths: Sequence[Path], table: Path | None = None) -> list[Recording]:
    """Return every recording in the given folders and files, sorted by name.

    Label and speaker come from `table`, a CSV file (`path,label,speaker`) whose paths are relative to its own folder;
    else from the file's own name, if it is named as in a known corpus (a folder may hold several); else from the
    folders between the given one and the file: `…/label/file` or `…/speaker/label/file`. Files that only the table
    names are included, so `paths` may be empty with a table.

    Raises:
        UsageError: a path does not exist, the table is malformed, or there is no recording.
    """
    found: dict[Path, Recording] = {}
    for path in paths:
        if path.is_dir():
            found.update((recording.path, recording) for recording in _in_folder(path))
        elif path.is_file():
            found[path] = Recording(path, path.name, "", "")
        else:
            raise UsageError(f"{path} does not exist; give a folder of recordings, or recordings.")
    recordings = _labelled_by_file_names(found.values())
    if table is not None:
        recordings = _labelled_by_table(recordings, table)
    if not recordings:
        raise UsageError(
            f"There is no recording in {', '.join(map(str, paths)) or table}; "
            f"recordings are files that end in {', '.join(sorted(SUFFIXES))}."
        )
    return sorted(recordings, key=lambda recording: (recording.name, recording.path))


def _in_folder(folder: Path) -> Iterable[Recording]:
    """Yield the recordings below `folder`, labelled by the names of their folders."""
    for path in folder.rglob("*"):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            inside = path.relative_to(folder)
            *_, speaker, label = ("", "", *inside.parent.parts)
            yield Recording(path, str(inside), label, speaker, labelled_by=FOLDERS if label else "")


def _labelled_by_file_names(recordings: Iterable[Recording]) -> list[Recording]:
    """Return the recordings with labels and speakers from file names, where a folder's files are of a known corpus."""
    by_folder = defaultdict(list)
    for recording in recordings:
        by_folder[recording.path.parent].append(recording)
    labelled = []
    for members in by_folder.values():
        clips = {clip.path: clip for clip in known_clips([recording.path for recording in members])}
        for recording in members:
            clip = clips.get(recording.path)
            if clip is not None:
                recording = replace(
                    recording, label=clip.label, speaker=clip.speaker_id, corpus=clip.corpus, labelled_by=clip.corpus
                )
            labelled.append(recording)
    return labelled


def _labelled_by_table(recordings: list[Recording], table: Path) -> list[Recording]:
    """Return the recordings with the table's labels and speakers, and those that only the table names."""
    known = {_resolved(recording.path): recording for recording in recordings}
    for line, row in _rows(table):
        name, label, speaker = (csv_text(row.get(column) or "").strip() for column in ("path", "label", "speaker"))
        if "\0" in name:
            raise UsageError(f"Line {line} of {table} names an impossible path; correct it, or remove the line.")
        if not name:
            raise UsageError(f"Line {line} of {table} has no path; add one, or remove the line.")
        path = table.parent / name
        recording = known.get(_resolved(path), Recording(path, name, "", ""))
        known[_resolved(path)] = replace(recording, label=label, speaker=speaker, labelled_by=TABLE if label else "")
    return list(known.values())


def label_sources(recordings: Iterable[Recording]) -> str:
    """Return how many recordings were labelled by what, as one sentence."""
    counts = Counter(recording.labelled_by for recording in recordings)
    unknown = counts.pop("", 0)
    told = [
        f"{count:,} by {by if by in (FOLDERS, TABLE) else f'the file names of {by}'}"
        for by, count in counts.most_common()
    ]
    return f"Labels: {', '.join([*told, f'{unknown:,} without one'] if unknown or not told else told)}."


def _resolved(path: Path) -> Path:
    """Return `path` without links; as it is where its links form a loop."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """Return line numbers and rows of a CSV file with the columns path, label and optionally speaker."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows = [(reader.line_num, row) for row in reader]
            columns = set(reader.fieldnames or ())
    except FileNotFoundError as error:
        raise UsageError(
            f"The table {table} does not exist; give a CSV file with the columns path,label,speaker."
        ) from error
    except OSError as error:  # a folder, a loop of links, no permission
        raise UsageError(f"The table {table} cannot be read ({error.strerror}); give a CSV file.") from error
    except (ValueError, csv.Error) as error:  # a path with a NUL is a ValueError, too
        raise UsageError(f"{table} is not a CSV file in UTF-8; save it as one with path,label,speaker.") from error
    if not {"path", "label"} <= columns:
        raise UsageError(f"{table} lacks the columns path and label; its first line must read path,label,speaker.")
    return rows
