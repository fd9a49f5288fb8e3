"""Journals: their names, and reading them whatever is in them."""

import gzip
from pathlib import Path

import pytest

from streamer.errors import StreamerError, UsageError
from streamer.events import to_json
from streamer.sessions.journal import MAX_LINE, JournalReader, daily_files, journals
from tests.support.event_samples import INFO, transition, window


def lines(*events: object) -> bytes:
    return b"".join(to_json(event).encode() + b"\n" for event in events)  # type: ignore[arg-type]


def test_days_come_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    names = ["2026-11-09.jsonl.gz", "2026-11-10.2.jsonl", "2026-11-10.10.jsonl", "2026-11-10.jsonl.gz"]
    for name in (*names, "notes.txt", "2026-11-10.jsonl.gz.part"):
        (tmp_path / name).write_bytes(lines(INFO))
    found = [path.name for _, path in daily_files(tmp_path)]
    assert found == ["2026-11-09.jsonl.gz", "2026-11-10.jsonl.gz", "2026-11-10.2.jsonl", "2026-11-10.10.jsonl"]


def test_a_day_that_a_kill_left_compressed_and_plain_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "2026-11-10.jsonl").write_bytes(lines(INFO, window(0)))
    (tmp_path / "2026-11-10.jsonl.gz").write_bytes(gzip.compress(lines(INFO, window(0))))
    assert list(JournalReader(journals([tmp_path]))) == [INFO, window(0)]


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\n\n   \n",
        b"x" * (2 * MAX_LINE + 5) + b"\n",
        b'{"schema":2,"type":"window"}\n',
        b'{"schema":1,"type":"tomorrow","more":1}\n',
        b"[" * 100_000 + b"\n",
        b"\x00\xff\x1b[2J\n",
    ],
)
def test_what_is_no_event_is_passed_over_and_counted(tmp_path: Path, rubbish: bytes) -> None:
    path = tmp_path / "day.jsonl"
    path.write_bytes(lines(INFO, window(0)) + rubbish + lines(transition(0)))
    reader = JournalReader([path])
    assert list(reader) == [INFO, window(0), transition(0)]
    assert reader.damaged == bool(rubbish.strip())


def test_a_compressed_file_that_ends_too_early_gives_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl.gz"
    whole = gzip.compress(lines(INFO, *(window(seq) for seq in range(5_000))))
    path.write_bytes(whole[: len(whole) // 2])
    reader = JournalReader([path])
    assert len(list(reader)) > 1_000
    assert reader.damaged >= 1


@pytest.mark.parametrize("content", [b"", b"RIFF....WAVE", b"\n"])
def test_a_file_without_events_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(content)
    with pytest.raises(StreamerError, match=r"talk\.wav: no event is in there; name a file of JSON lines"):
        list(JournalReader([path]))


def test_the_journals_of_labelled_recordings_are_found_in_their_folders(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.wav.jsonl", "sub/a.mp3.jsonl", ".b.123-abc.part.jsonl", "notes.txt"):
        (tmp_path / name).write_bytes(lines(INFO))
    assert [path.name for path in journals([tmp_path])] == ["b.wav.jsonl", "a.mp3.jsonl"]


def test_a_missing_path_and_a_folder_without_journals_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        journals([tmp_path / "nothing"])
    with pytest.raises(UsageError, match=r"holds no \.jsonl file"):
        journals([tmp_path])
