"""The recorder: what is in the files, when it is there, and what happens when the disk or the folder fails."""

import errno
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from streamer.errors import UsageError
from streamer.events import EmotionStarted, Event, Info
from streamer.sessions import recorder as module
from streamer.sessions.journal import JournalReader, daily_files, journals
from streamer.sessions.recorder import Recorder
from streamer.settings import RecordConfig
from tests.sessions.synthetic_day import INFO, day
from tests.support.event_samples import transition, window

MEGABYTE = 1_000_000
NOON = 1_795_348_800.0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder's thread does in a fiftieth of a second what it does each second."""
    monkeypatch.setattr(module, "FLUSH_S", 0.02)


def eventually(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # compressed meanwhile
        return 0


def read(folder: Path) -> list[Event]:
    return list(JournalReader(journals([folder])))


def record(folder: Path, *events: Event, table: RecordConfig | None = None) -> Recorder:
    recorder = Recorder(folder, table or RecordConfig())
    recorder.start()
    for event in (INFO, *events):
        recorder.publish(event)
    recorder.close()
    return recorder


def test_every_event_is_in_the_file_and_info_is_its_first_line(tmp_path: Path) -> None:
    some = [window(0), transition(0), window(1), transition(1)]
    recorder = record(tmp_path, *some)
    assert read(tmp_path) == [INFO, *some]
    assert recorder.stats().sent == 5
    assert recorder.stats().queued == recorder.stats().shed == 0


def test_what_was_published_is_in_the_file_within_a_second_or_so(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, RecordConfig())
    recorder.start()
    began = time.monotonic()
    recorder.publish(INFO)
    recorder.publish(transition(0))
    eventually(lambda: any(transition(0).id in path.read_text() for _, path in daily_files(tmp_path)))
    assert time.monotonic() - began < 2.0
    recorder.close()


def test_no_byte_waits_longer_than_ten_seconds_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    now, synced = 0.0, [0.0]
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (real(descriptor), synced.append(now)))
    recorder = Recorder(tmp_path, RecordConfig(), monotonic=lambda: now)
    recorder.start()
    recorder.publish(INFO)
    for seq in range(40):
        recorder.publish(window(seq))
        eventually(lambda: recorder.stats().queued == 0)
        now += 1.0
    recorder.close()
    assert max(after - before for before, after in pairwise(synced)) <= 9.0
    assert len(synced) < 10, "nor is the disk asked each second"


def test_a_restart_goes_on_in_the_day_s_file_after_a_line_of_info(tmp_path: Path) -> None:
    record(tmp_path, window(0))
    record(tmp_path, window(1))
    assert len(daily_files(tmp_path)) == 1
    assert read(tmp_path) == [INFO, window(0), INFO, window(1)]


@pytest.mark.parametrize("torn", [b'{"schema":1,"type":"win', b"\0" * 100, b"\xff\xfe"])
def test_a_torn_end_is_closed_off_and_counted(tmp_path: Path, torn: bytes) -> None:
    record(tmp_path, window(0))
    ((_, path),) = daily_files(tmp_path)
    with path.open("ab") as file:
        file.write(torn)
    record(tmp_path, window(1))
    reader = JournalReader([path])
    assert [event for event in reader if not isinstance(event, Info)] == [window(0), window(1)]
    assert reader.damaged == 1


def test_two_monitors_do_not_record_into_one_folder(tmp_path: Path) -> None:
    first = Recorder(tmp_path, RecordConfig())
    with pytest.raises(UsageError, match="Another monitor records into"):
        Recorder(tmp_path, RecordConfig())
    first.close()
    Recorder(tmp_path, RecordConfig()).close()


def test_a_folder_that_cannot_be_made_is_said_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written .*; give record\.folder a place"):
        Recorder(tmp_path / "file" / "folder", RecordConfig())


@pytest.fixture
def full_disk() -> Iterator[Callable[[int], None]]:
    """Make files end at so many bytes, by the kernel's limit; -1: no more."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_a_full_disk_is_said_once_and_nothing_is_lost_when_there_is_room_again(
    tmp_path: Path, quick: None, full_disk: Callable[[int], None]
) -> None:
    said: list[str] = []
    recorder = Recorder(tmp_path, RecordConfig(), said.append)
    recorder.start()
    recorder.publish(INFO)
    eventually(lambda: recorder.stats().sent == 1)
    full_disk(2_000)  # in the middle of a line
    for seq in range(30):
        recorder.publish(window(seq))
    eventually(lambda: recorder.stats().detail)
    for seq in range(30, 60):
        recorder.publish(window(seq))
    time.sleep(0.2)
    assert not recorder.stats().online
    assert recorder.stats().queued > 50
    full_disk(-1)
    eventually(lambda: recorder.stats().sent == 61)
    recorder.close()
    assert [event.seq for event in read(tmp_path)[1:]] == list(range(60))
    assert len(said) == 2
    assert "cannot be written" in said[0]
    assert "make it writable" in said[0]
    assert "can be written again; 0 events" in said[1]


def test_while_the_disk_is_full_windows_go_before_transitions_and_are_counted(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    recorder = Recorder(tmp_path, RecordConfig())
    recorder.start()
    recorder.publish(INFO)
    eventually(lambda: recorder.stats().sent == 1)
    real = os.write
    monkeypatch.setattr(os, "write", refuse)
    for number in range(300):
        recorder.publish(transition(number))
        for seq in range(60):
            recorder.publish(window(60 * number + seq))
    eventually(lambda: ": free space; events wait until then." in recorder.stats().detail)
    monkeypatch.setattr(os, "write", real)
    recorder.close()
    events = read(tmp_path)
    assert [event for event in events if event.type == "transition"] == [transition(number) for number in range(300)]
    assert len(events) - 1 + recorder.stats().shed == 300 * 61
    assert recorder.stats().shed > 0


@pytest.mark.parametrize("remove", [True, False])
def test_a_file_that_somebody_moved_or_removed_is_begun_anew(tmp_path: Path, quick: None, remove: bool) -> None:
    folder = tmp_path / "sessions"
    said: list[str] = []
    recorder = Recorder(folder, RecordConfig(), said.append)
    recorder.start()
    recorder.publish(INFO)
    recorder.publish(window(0))
    eventually(lambda: recorder.stats().sent == 2)
    if remove:
        shutil.rmtree(folder)
    else:
        ((_, path),) = daily_files(folder)
        path.rename(tmp_path / "elsewhere.jsonl")
    recorder.publish(window(1))
    eventually(lambda: recorder.stats().sent == 3)
    recorder.close()
    assert read(folder) == [INFO, window(1)]
    assert "was moved away or removed" in said[0]


def test_past_days_are_compressed_and_nothing_of_them_is_lost(tmp_path: Path, quick: None) -> None:
    now = NOON
    said: list[str] = []
    recorder = Recorder(tmp_path, RecordConfig(max_mb=8), said.append, wait=True, wall=lambda: now)
    recorder.start()
    recorder.publish(INFO)
    for days in range(5):
        now = NOON + 86_400 * days
        for seq in range(3_000):  # 1.2 MB: more than one part
            recorder.publish(window(seq))
        eventually(lambda: recorder.stats().queued == 0)
    eventually(lambda: len(list(tmp_path.glob("*.jsonl"))) == 1)
    recorder.close()
    names = [path.name for _, path in daily_files(tmp_path)]
    assert names[0].endswith("-22.jsonl.gz")
    assert len([event for event in read(tmp_path) if event.type == "window"]) == 15_000
    assert said == []
    assert not list(tmp_path.glob("*.part"))


def test_the_folder_never_outgrows_its_bound(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(module, "MEGABYTE", 100_000)  # a bound of 0.8 MB
    recorder = Recorder(tmp_path, RecordConfig(max_mb=8), said.append, wait=True)
    recorder.start()
    recorder.publish(INFO)
    largest = 0
    for seq in range(6_000):
        recorder.publish(window(seq))
        if seq % 200 == 0:
            eventually(lambda: recorder.stats().queued == 0)
            largest = max(largest, sum(map(size_of, tmp_path.iterdir())))
    recorder.close()
    assert largest <= 900_000
    assert len(daily_files(tmp_path)) > 1
    assert said == [] or "was removed" in said[0]
    assert read(tmp_path)[-1].seq == 5_999


def test_a_whole_day_is_there_as_it_was(tmp_path: Path) -> None:
    truth = list(day(hours=2.0))
    recorder = Recorder(tmp_path, RecordConfig(), wait=True)
    recorder.start()
    for event in (INFO, *truth):
        recorder.publish(event)
    recorder.close()
    events = read(tmp_path)
    assert events == [INFO, *truth]
    assert any(isinstance(event, EmotionStarted) for event in events)


def test_every_nth_window_is_kept_where_asked_for(tmp_path: Path) -> None:
    record(tmp_path, *(window(seq) for seq in range(8)), transition(0), table=RecordConfig(window_every=4))
    assert read(tmp_path) == [INFO, window(0), window(4), transition(0)]
