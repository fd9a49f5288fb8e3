"""Read corpora of emotional speech: clips with a label and a speaker, from file names or a CSV file.

Recognised by their file names: CREMA-D (Cao et al. 2014), RAVDESS (Livingstone & Russo 2018), nEMO (Christop 2024),
EMO-DB (Burkhardt et al. 2005), TESS (Pichora-Fuller & Dupuis 2020), SAVEE (Haq & Jackson 2009). Any other data is read
from a CSV file with the columns `path,label,speaker`.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streamer.emotion.labels import LABELS
from streamer.errors import UsageError
from streamer.spreadsheet import csv_text

SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aiff", ".aif", ".m4a", ".m4b", ".mp4", ".mov", ".3gp"}
    | {".mkv", ".mka", ".webm", ".wma", ".aac", ".ac3", ".amr", ".caf", ".avi", ".au", ".w64", ".wv"}
)

LEAST_CLIPS = 3  # so many files of one naming are no chance, whatever else is in the folder


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording of one emotion."""

    path: Path
    corpus: str
    label: str  # one of LABELS
    speaker: str  # unique within its corpus
    listed: str | None = None  # its path as a CSV file lists it; None: known corpora have each file name once

    @property
    def key(self) -> str:
        """Unique over all clips of all corpora."""
        return f"{self.corpus}/{self.listed or self.path.name}"

    @property
    def speaker_id(self) -> str:
        """`corpus/speaker`: unlike `speaker`, unique over all corpora."""
        return f"{self.corpus}/{self.speaker}"


@dataclass(frozen=True, slots=True)
class Corpus:
    """The clips of one corpus, sorted by path."""

    name: str
    licence: str
    clips: tuple[Clip, ...]
    votes: dict[str, tuple[float, ...]] = field(default_factory=dict)  # file stem: share of votes, in LABELS' order

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that occur, in the order of LABELS."""
        present = {clip.label for clip in self.clips}
        return tuple(label for label in LABELS if label in present)

    @property
    def speakers(self) -> tuple[str, ...]:
        """Speakers that occur, sorted; unique within the corpus."""
        return tuple(sorted({clip.speaker for clip in self.clips}))


@dataclass(frozen=True, slots=True)
class _Naming:
    """How a corpus names its files. `pattern` matches the whole stem and has the groups `emotion` and `speaker`."""

    name: str
    licence: str
    pattern: re.Pattern[str]
    emotions: dict[str, str]
    speaker: Callable[[re.Match[str]], str] = lambda match: match["speaker"]
    twins: frozenset[str] = frozenset()  # stems of files that are, byte for byte, another one of the corpus


_NAMINGS = (
    _Naming(
        "crema-d",
        "ODbL 1.0 (database), DbCL 1.0 (contents)",
        re.compile(r"(?P<speaker>1\d{3})_[A-Z]{3}_(?P<emotion>[A-Z]{3})_[A-Z]{2}"),
        {"ANG": "angry", "DIS": "disgust", "FEA": "fearful", "HAP": "happy", "NEU": "neutral", "SAD": "sad"},
    ),
    _Naming(
        "ravdess",
        "CC BY-NC-SA 4.0",
        re.compile(r"0[13]-01-(?P<emotion>\d\d)-\d\d-\d\d-\d\d-(?P<speaker>\d\d)"),  # channel 01: speech, not song
        {f"{number:02d}": label for number, label in enumerate(LABELS, start=1)},
        twins=frozenset({"03-01-03-01-02-02-07"}),  # the same take as 03-01-03-01-02-01-07
    ),
    _Naming(
        "nemo",
        "CC BY-NC-SA 4.0",
        re.compile(r"(?P<speaker>[A-Z]{2}\d)_(?P<emotion>[a-z]+)_\d+"),
        {
            "anger": "angry",
            "fear": "fearful",
            "happiness": "happy",
            "neutral": "neutral",
            "sadness": "sad",
            "surprised": "surprised",
        },
    ),
    _Naming(
        "emo-db",
        "no licence stated",
        re.compile(r"(?P<speaker>\d\d)[ab]\d\d(?P<emotion>[WLEAFTN])[a-z]?"),
        {"W": "angry", "E": "disgust", "A": "fearful", "F": "happy", "T": "sad", "N": "neutral"},  # no L, boredom
    ),
    _Naming(
        "tess",
        "CC BY-NC-ND 4.0",
        re.compile(r"(?P<speaker>OAF|YAF|OA)_[a-z']+_(?P<emotion>[a-z]+)", re.IGNORECASE),
        {
            "angry": "angry",
            "disgust": "disgust",
            "fear": "fearful",
            "happy": "happy",
            "neutral": "neutral",
            "sad": "sad",
            "ps": "surprised",
        },
        speaker=lambda match: match["speaker"][:2].upper(),  # one file of the older actress says OA, the others OAF
    ),
    _Naming(
        "savee",
        "free for research, on registration",
        re.compile(r"(?P<speaker>DC|JE|JK|KL)_(?P<emotion>sa|su|[adfhn])\d\d"),
        {
            "a": "angry",
            "d": "disgust",
            "f": "fearful",
            "h": "happy",
            "n": "neutral",
            "sa": "sad",
            "su": "surprised",
        },
    ),
)


def read_corpus(path: str | Path) -> Corpus:
    """Read the corpus in a folder and its subfolders, recognised by file names, or the one that a CSV file lists.

    A folder may hold `voice_votes.csv` (`file`, then one column of counts a label): votes of the crowd on each clip.

    Raises:
        UsageError: the path does not exist, no file name is of a known corpus, or the CSV file is wrong; or the folder
            holds several corpora, which `read_corpora` reads.
    """
    first, *others = _read(Path(path))
    if others:
        names = ", ".join(corpus.name for corpus in (first, *others))
        raise UsageError(f"{path} holds several corpora ({names}); give the folder of one of them.")
    return first


def _read(path: Path) -> list[Corpus]:
    if path.is_file():
        return [_read_csv(path)]
    if not path.is_dir():
        raise UsageError(f"There is no corpus {path}; give a folder of recordings or a CSV file.")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    found = _by_naming(files)
    if not found:
        known = ", ".join(naming.name for naming in _NAMINGS)
        raise UsageError(
            f"No file under {path} is named as in a corpus that is known here ({known}); "
            "list your recordings in a CSV file with the columns path,label,speaker."
        )
    file = path / "voice_votes.csv"
    votes = _read_votes(file) if file.is_file() else {}
    return [Corpus(naming.name, naming.licence, tuple(clips), votes) for naming, clips in found]


def known_clips(files: Sequence[Path]) -> list[Clip]:
    """Return the clips among `files`, each by the naming that its own name follows.

    Where most files are of no known corpus, a naming that fewer than `LEAST_CLIPS` follow is taken for chance.
    """
    return [clip for _, clips in _by_naming(files) for clip in clips]


def read_corpora(paths: Sequence[str | Path]) -> list[Corpus]:
    """Read the corpus at each of `paths`; a folder may hold several, told apart by their file names.

    Raises:
        UsageError: as `read_corpus`; or two of them have the same name, so that ids of speakers would clash.
    """
    corpora = [corpus for path in paths for corpus in _read(Path(path))]
    names = [corpus.name for corpus in corpora]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"Two of the corpora are called {name}; give each once, or join their CSV files.")
    return corpora


def clips_of(corpora: Iterable[Corpus]) -> list[Clip]:
    """Return all clips, corpus by corpus."""
    return [clip for corpus in corpora for clip in corpus.clips]


def _by_naming(files: Sequence[Path]) -> list[tuple[_Naming, list[Clip]]]:
    """Return every naming that files follow with its clips, the most frequent first; one by chance is left out."""
    matched = [(naming, _match(naming, files)) for naming in _NAMINGS]
    mostly_known = 2 * sum(len(clips) for _, clips in matched) >= len(files)
    found = [(naming, clips) for naming, clips in matched if len(clips) >= (1 if mostly_known else LEAST_CLIPS)]
    return sorted(found, key=lambda one: -len(one[1]))


def _match(naming: _Naming, files: Iterable[Path]) -> list[Clip]:
    clips, seen = [], set()
    for file in files:
        match = naming.pattern.fullmatch(file.stem)
        # Some archives hold every recording twice.
        if match is None or file.name in seen or file.stem in naming.twins:
            continue
        seen.add(file.name)
        emotion = match["emotion"]
        label = naming.emotions.get(emotion) or naming.emotions.get(emotion.lower())
        if label is not None:
            clips.append(Clip(file, naming.name, label, naming.speaker(match)))
    return clips


def _read_csv(path: Path) -> Corpus:
    """Read the columns `path,label,speaker`; paths are relative to the file's folder."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream)
            lost = {"path", "label", "speaker"} - set(rows.fieldnames or ())
            if lost:
                raise UsageError(f"{path} lacks the column {min(lost)}; its first line must read path,label,speaker.")
            clips = [_clip_of_row(row, path, rows.line_num) for row in rows]
    except OSError as error:
        raise UsageError(f"The table {path} cannot be read ({error.strerror}); give a CSV file.") from error
    except (ValueError, csv.Error) as error:  # a path with a NUL is a ValueError, too
        raise UsageError(
            f"{path} is no CSV file in UTF-8; save it as one with the columns path,label,speaker."
        ) from error
    if not clips:
        raise UsageError(f"{path} lists no recordings; add lines of path,label,speaker.")
    for place, count in Counter(clip.path.resolve() for clip in clips).items():
        if count > 1:
            raise UsageError(f"{path} lists {place.name} {count} times; a recording has one label and one speaker.")
    return Corpus(path.stem, "as its owner says", tuple(sorted(clips, key=lambda clip: clip.path)))


def _clip_of_row(row: dict[str, str], path: Path, line: int) -> Clip:
    name, label, speaker = (csv_text(row[column] or "").strip() for column in ("path", "label", "speaker"))
    label = label.lower()
    if label not in LABELS:
        raise UsageError(f"Line {line} of {path} has the label {label!r}; use one of {', '.join(LABELS)}.")
    if not speaker:
        raise UsageError(f"Line {line} of {path} names no speaker; splits by speaker need one.")
    file = path.parent / name
    if not file.is_file():
        raise UsageError(
            f"Line {line} of {path} names {file}, which is not there; paths count from the CSV file's folder."
        )
    return Clip(file, path.stem, label, speaker, Path(name).as_posix())


def _read_votes(path: Path) -> dict[str, tuple[float, ...]]:
    """Return shares of votes by file stem, from counts; files without a vote are left out."""
    votes = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream)
            unknown = set(rows.fieldnames or ()) - {"file", *LABELS}
            if "file" not in (rows.fieldnames or ()) or unknown:
                raise UsageError(
                    f"{path} must have the columns file and names of labels; "
                    f"rename or remove {min(unknown, default='it')}."
                )
            for row in rows:
                counts = [float(row.get(label) or 0) for label in LABELS]
                if sum(counts) > 0:
                    votes[row["file"]] = tuple(count / sum(counts) for count in counts)
    except (ValueError, csv.Error) as error:  # not UTF-8, or no number
        raise UsageError(f"{path} is no CSV file of counts in UTF-8 ({error}); correct it, or remove it.") from error
    return votes
