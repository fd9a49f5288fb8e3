"""Recordings are found with the label and speaker of a table, of their file names or of their folders."""

from collections import Counter
from pathlib import Path

import pytest

from streamer.analysis.discover import find_recordings, label_sources
from streamer.errors import UsageError


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def found(*arguments):
    return [(one.name, one.label, one.speaker) for one in find_recordings(*arguments)]


def test_label_and_speaker_come_from_the_folders(tmp_path):
    for name in ("ann/calm/1.wav", "calm/2.FLAC", "3.ogg", "ann/calm/notes.txt"):
        touch(tmp_path / name)
    assert found([tmp_path]) == [("3.ogg", "", ""), ("ann/calm/1.wav", "calm", "ann"), ("calm/2.FLAC", "calm", "")]


def test_label_and_speaker_come_from_file_names_of_a_known_corpus(tmp_path):
    touch(tmp_path / "somebody" / "something" / "1001_DFA_ANG_XX.wav")
    ((_, label, speaker),) = found([tmp_path])
    assert (label, speaker) == ("angry", "crema-d/1001")


def test_one_known_name_among_others_does_not_make_a_corpus(tmp_path):
    for name in ("1001_DFA_ANG_XX.wav", "a.wav", "b.wav"):
        touch(tmp_path / "ann" / "calm" / name)
    assert {(label, speaker) for _, label, speaker in found([tmp_path])} == {("calm", "ann")}


def mixed(folder: Path) -> Path:
    """A folder of two corpora and of recordings of one's own."""
    for speaker in range(1001, 1012):
        touch(folder / f"{speaker}_DFA_ANG_XX.wav")
    for actor in range(1, 5):
        touch(folder / f"03-01-03-01-01-01-{actor:02d}.wav")
    touch(folder / "1001_2_notes.wav")
    return folder


def test_a_folder_of_several_corpora_is_recognised_file_by_file(tmp_path):
    recordings = find_recordings([mixed(tmp_path)])
    by_corpus = Counter((one.corpus, one.label) for one in recordings)
    assert by_corpus == {("crema-d", "angry"): 11, ("ravdess", "happy"): 4, ("", ""): 1}
    assert {one.speaker for one in recordings if one.corpus == "ravdess"} == {f"ravdess/0{n}" for n in range(1, 5)}
    assert label_sources(recordings) == (
        "Labels: 11 by the file names of crema-d, 4 by the file names of ravdess, 1 without one."
    )


def test_the_corpus_of_a_few_among_many_unknown_names_is_recognised_too(tmp_path):
    for number in range(20):
        touch(tmp_path / "ann" / "calm" / f"{number}.wav")
    for actor in range(1, 4):
        touch(tmp_path / "ann" / "calm" / f"03-01-03-01-01-01-{actor:02d}.wav")
    recordings = find_recordings([tmp_path])
    assert label_sources(recordings) == "Labels: 20 by folder names, 3 by the file names of ravdess."


def test_the_table_wins_over_the_file_name(tmp_path):
    mixed(tmp_path / "in")
    table = tmp_path / "table.csv"
    table.write_text("path,label,speaker\nin/1001_DFA_ANG_XX.wav,sad,eve\n")
    recordings = find_recordings([tmp_path / "in"], table)
    one = next(one for one in recordings if one.name == "1001_DFA_ANG_XX.wav")
    assert (one.label, one.speaker, one.labelled_by, one.corpus) == ("sad", "eve", "the table", "crema-d")
    assert "10 by the file names of crema-d, 4 by the file names of ravdess, 1 by the table" in label_sources(
        recordings
    )


def test_a_table_overrides_folders_and_adds_files(tmp_path):
    touch(tmp_path / "in" / "ann" / "calm" / "1.wav")
    touch(tmp_path / "2.wav")
    table = tmp_path / "table.csv"
    table.write_text("\ufeffpath,label,speaker\nin/ann/calm/1.wav, sad ,eve\n2.wav,happy,\n", encoding="utf-8")
    assert found([tmp_path / "in"], table) == [("2.wav", "happy", ""), ("ann/calm/1.wav", "sad", "eve")]
    assert found([], table) == [("2.wav", "happy", ""), ("in/ann/calm/1.wav", "sad", "eve")]


@pytest.mark.parametrize(
    ("content", "cure"),
    [
        (b"path,speaker\n1.wav,ann\n", "path,label,speaker"),
        (b"path,label\n,calm\n", "Line 2 .* has no path"),
        (b"path,label\n\xff.wav,calm\n", "not a CSV file in UTF-8"),
    ],
)
def test_a_malformed_table_is_refused_with_the_cure(tmp_path, content, cure):
    table = tmp_path / "table.csv"
    table.write_bytes(content)
    with pytest.raises(UsageError, match=cure):
        find_recordings([], table)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(UsageError, match="nothing does not exist"):
        find_recordings([tmp_path / "nothing"])
    with pytest.raises(UsageError, match=r"There is no recording in .*wav"):
        find_recordings([tmp_path])
    with pytest.raises(UsageError, match=r"none\.csv does not exist"):
        find_recordings([], tmp_path / "none.csv")
