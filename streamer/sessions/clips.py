"""Clips: the few seconds of audio around each new emotion, where `record.clips` asks for them. This module keeps them.

A clip is a FLAC file that says itself what it is, in its comment: deleting the file deletes all there is of it.
"""

import csv
import json
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from streamer.arrays import Samples
from streamer.constants import SAMPLE_RATE
from streamer.emotion.labels import LABELS
from streamer.errors import StreamerError, UsageError
from streamer.events import iso_time
from streamer.names import slugify
from streamer.replacing import replacing
from streamer.spreadsheet import csv_cell, csv_text

FOLDER = "clips"
REVIEWED = "labels.csv"  # path, label, speaker: what `streamer train` reads
NONE = "none"  # heard in a clip that shows no emotion, or no voice
NOTHING_HEARD = "none.csv"  # those, in the same form: no label for training
_COLUMNS = ("path", "label", "speaker")


@dataclass(frozen=True, slots=True)
class About:
    """What a clip is of."""

    stream: str
    time: float  # at which the emotion started, seconds since the epoch
    label: str  # as the model has it
    confidence: float
    id: str  # of the transition
    start_s: float  # position of the clip's first sample in the stream
    model_sha256: str


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip that was kept."""

    path: Path
    about: About
    seconds: float
    reviewed: str | None = None  # the label that somebody heard; None: nobody listened yet

    @property
    def name(self) -> str:
        """The name it is called by."""
        return self.path.stem


def write_clip(folder: Path, about: About, samples: Samples) -> Path:
    """Write `samples` [n] float32 at 24 kHz as a clip that only this user may read; return its path.

    Raises:
        OSError: it cannot be written.
    """
    import soundfile

    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    moment = iso_time(about.time).replace(":", "-")
    path = folder / f"{moment}_{slugify(about.stream)}_{slugify(about.label)}_{slugify(about.id)}.flac"
    with replacing(path) as part:
        part.touch(mode=0o600)
        try:
            with soundfile.SoundFile(part, "w", SAMPLE_RATE, 1, format="FLAC", subtype="PCM_16") as file:
                file.comment = json.dumps(asdict(about))
                file.write(samples)
        except soundfile.LibsndfileError as error:
            raise OSError(f"{path.name}: {error.error_string}") from error
    return path


def clips_in(folder: Path) -> list[Clip]:
    """Return the clips of `folder`, oldest first, with the labels of those that were reviewed; others' files are not.

    Raises:
        StreamerError: the table of labels cannot be read.
    """
    reviewed = _reviewed(folder)
    found = []
    for path in sorted(folder.glob("*.flac")):
        clip = _read(path)
        if clip is not None:
            found.append(replace(clip, reviewed=reviewed.get(path.name, (None, ""))[0]))
    return found


def clips_folder(path: Path) -> Path:
    """Return the folder of clips that `path` names: itself, or the one in a recorder's folder.

    Raises:
        UsageError: there is none.
    """
    for folder in (path / FOLDER, path):
        if folder.is_dir() and next(folder.glob("*.flac"), None) is not None:
            return folder
    raise UsageError(f"{path} holds no clips; they are kept while record.clips = true.")


def review(folder: Path, clip: Clip, label: str) -> None:
    """Keep `label`, one of the model's or `NONE`, as what somebody heard in `clip`.

    Raises:
        UsageError: there is no such label.
        OSError: the table cannot be written.
    """
    if label not in (*LABELS, NONE):
        raise UsageError(f"{label!r} is no label; use one of {', '.join((*LABELS, NONE))}.")
    rows = _reviewed(folder)
    rows[clip.path.name] = (label, clip.about.stream)
    _write_reviewed(folder, rows)


def delete(folder: Path, clip: Clip) -> None:
    """Delete `clip` and its label.

    Raises:
        OSError: it cannot be deleted.
    """
    clip.path.unlink(missing_ok=True)
    rows = _reviewed(folder)
    if rows.pop(clip.path.name, None) is not None:
        _write_reviewed(folder, rows)


def _read(path: Path) -> Clip | None:
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            about: Any = json.loads(file.comment)
            return Clip(path, About(**about), file.frames / file.samplerate)
    except (soundfile.LibsndfileError, ValueError, TypeError):
        return None


def _reviewed(folder: Path) -> dict[str, tuple[str, str]]:
    """Return file name → label and speaker."""
    found: dict[str, tuple[str, str]] = {}
    for path in (folder / REVIEWED, folder / NOTHING_HEARD):
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            found |= {csv_text(row["path"]): (csv_text(row["label"]), csv_text(row["speaker"])) for row in rows}
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
            raise StreamerError(f"{path} cannot be read as path,label,speaker ({error}); mend or move it.") from error
    return found


def _write_reviewed(folder: Path, rows: dict[str, tuple[str, str]]) -> None:
    """Write both tables, without the clips that somebody deleted."""
    there = {name: row for name, row in sorted(rows.items()) if (folder / name).exists()}
    emotions = {name: row for name, row in there.items() if row[0] != NONE}
    for table, kept in ((REVIEWED, emotions), (NOTHING_HEARD, {n: r for n, r in there.items() if n not in emotions})):
        with replacing(folder / table) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            for name, (label, speaker) in kept.items():
                writer.writerow([csv_cell(name), csv_cell(label), csv_cell(speaker)])


def total_bytes(folder: Path) -> int:
    """Return how much the clips take."""
    sizes = []
    for path in folder.glob("*.flac"):
        with suppress(OSError):
            sizes.append(path.stat().st_size)
    return sum(sizes)
