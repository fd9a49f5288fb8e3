"""Clips of the audio around emotions: only where asked for, bounded, listed, corrected, deleted."""

import csv
import json
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from streamer.arrays import Samples
from streamer.audio.ring import RingBuffer
from streamer.cli import app
from streamer.corpora.corpus import read_corpus
from streamer.errors import UsageError
from streamer.events import EmotionStarted, Info
from streamer.sessions import clip_recorder
from streamer.sessions.clip_recorder import AFTER_S, BEFORE_S, ClipRecorder
from streamer.sessions.clips import (
    NOTHING_HEARD,
    REVIEWED,
    About,
    clips_folder,
    clips_in,
    delete,
    review,
    total_bytes,
    write_clip,
)
from streamer.sessions.journal import JournalReader, journals
from streamer.settings import Settings
from streamer.sources.demo import DEMO
from tests.sessions.synthetic_day import INFO
from tests.support.event_samples import TIME
from tests.support.terminal import Terminal

RATE = 24_000


def started(number: int, start_s: float, label: str = "angry") -> EmotionStarted:
    return EmotionStarted("desk", f"k3f9-{number:06}", TIME + start_s, label, None, 0.81, start_s)


def about(number: int, label: str = "angry") -> About:
    return About("desk", TIME + number, label, 0.8, f"k3f9-{number:06}", float(number), "8da2")


def ramp(seconds: float) -> Samples:
    """Samples that tell their position: one more each."""
    return (np.arange(round(seconds * RATE), dtype=np.float32) / (1 << 20)).astype(np.float32)


def eventually(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def recorder_of(folder: Path, ring: RingBuffer, max_bytes: int = 10_000_000, **more: object) -> ClipRecorder:
    recorder = ClipRecorder(
        folder,
        max_bytes,
        lambda stream, start: ring.recent(start) if stream == "desk" else None,
        **more,  # type: ignore[arg-type]
    )
    recorder.publish(INFO)
    recorder.start()
    return recorder


def test_nothing_is_kept_unless_it_is_asked_for() -> None:
    assert Settings().record.clips is False


def test_a_clip_is_the_audio_around_the_moment_of_decision(tmp_path: Path) -> None:
    ring = RingBuffer(8 * RATE)
    audio = ramp(12.0)
    ring.write(audio[: 10 * RATE])
    recorder = recorder_of(tmp_path / "clips", ring)
    recorder.publish(started(0, 9.5))
    time.sleep(0.3)
    assert recorder.stats().queued == 1, "its end is still to come"
    ring.write(audio[10 * RATE :])
    eventually(lambda: recorder.stats().sent)
    recorder.close()
    (clip,) = clips_in(tmp_path / "clips")
    samples, rate = soundfile.read(clip.path, dtype="float32")
    first = round((9.5 - BEFORE_S) * RATE)
    assert (rate, len(samples)) == (RATE, round((BEFORE_S + AFTER_S) * RATE))
    assert np.abs(samples - audio[first : first + len(samples)]).max() < 1e-4
    assert (clip.about.label, clip.about.stream, clip.about.model_sha256) == ("angry", "desk", INFO.model_sha256)
    assert clip.about.start_s == pytest.approx(9.5 - BEFORE_S)
    assert stat.S_IMODE(clip.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(clip.path.parent.stat().st_mode) == 0o700


def test_a_stream_that_was_muted_meanwhile_gives_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_recorder, "PATIENCE_S", -1.9)
    ring = RingBuffer(8 * RATE)
    ring.write(ramp(3.0))
    recorder = recorder_of(tmp_path, ring)
    recorder.publish(started(0, 3.0))
    recorder.publish(replace(started(1, 3.0), stream="removed"))
    eventually(lambda: recorder.stats().sent + recorder.stats().shed == 2)
    recorder.close()
    (clip,) = clips_in(tmp_path)
    assert clip.seconds == pytest.approx(3.0)
    assert recorder.stats().shed == 1


def test_at_the_end_of_the_run_the_clips_that_are_wanted_are_taken(tmp_path: Path) -> None:
    ring = RingBuffer(8 * RATE)
    ring.write(ramp(6.0))
    recorder = recorder_of(tmp_path, ring)
    recorder.publish(started(0, 6.0))
    recorder.close()
    assert len(clips_in(tmp_path)) == 1


def test_the_oldest_that_nobody_reviewed_make_room(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, RATE).astype(np.float32)
    ring = RingBuffer(8 * RATE)
    ring.write(np.tile(noise, 8))
    for number in range(4):
        write_clip(tmp_path, about(number), noise)
    size = (tmp_path / clips_in(tmp_path)[0].path.name).stat().st_size
    review(tmp_path, clips_in(tmp_path)[0], "sad")
    needed = 2 * round((BEFORE_S + AFTER_S) * RATE)
    recorder = recorder_of(tmp_path, ring, total_bytes(tmp_path) + needed - round(1.5 * size))
    recorder.publish(started(9, 6.0))
    eventually(lambda: recorder.stats().sent)
    recorder.close()
    assert [clip.about.id[-1] for clip in clips_in(tmp_path)] == ["0", "3", "9"]


def test_clips_that_were_reviewed_are_never_removed_and_that_is_said_once(tmp_path: Path) -> None:
    ring = RingBuffer(8 * RATE)
    ring.write(ramp(8.0))
    said: list[str] = []
    write_clip(tmp_path, about(0), ramp(1.0))
    review(tmp_path, clips_in(tmp_path)[0], "happy")
    recorder = recorder_of(tmp_path, ring, 1_000, say=said.append)
    recorder.publish(started(1, 6.0))
    recorder.publish(started(2, 6.0))
    eventually(lambda: recorder.stats().shed == 2)
    recorder.close()
    assert len(clips_in(tmp_path)) == 1
    assert len(said) == 1
    assert "raise record.clips_max_mb" in said[0]


def test_what_was_heard_is_a_table_that_training_reads(tmp_path: Path) -> None:
    for number, label in enumerate(("angry", "happy", "sad")):
        write_clip(tmp_path, about(number, label), ramp(1.0))
    first, second, third = clips_in(tmp_path)
    review(tmp_path, first, "neutral")
    review(tmp_path, second, "happy")
    review(tmp_path, third, "none")
    corpus = read_corpus(tmp_path / REVIEWED)
    assert [(clip.label, clip.speaker) for clip in corpus.clips] == [("neutral", "desk"), ("happy", "desk")]
    assert [clip.reviewed for clip in clips_in(tmp_path)] == ["neutral", "happy", "none"]
    with (tmp_path / NOTHING_HEARD).open() as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["none"]
    with pytest.raises(UsageError, match="'furious' is no label; use one of neutral"):
        review(tmp_path, first, "furious")
    delete(tmp_path, first)
    second.path.unlink()  # by hand
    review(tmp_path, third, "sad")
    assert [clip.label for clip in read_corpus(tmp_path / REVIEWED).clips] == ["sad"]


def test_the_command_lists_labels_and_deletes(tmp_path: Path) -> None:
    folder = tmp_path / "sessions"
    for number in range(3):
        write_clip(folder / "clips", about(number), ramp(1.0))
    (folder / "clips" / "song.flac").write_bytes(b"no clip of ours")
    names = [clip.name for clip in clips_in(folder / "clips")]

    def run(*more: str) -> str:
        return CliRunner().invoke(app, ["review", str(folder), *more], catch_exceptions=False).stdout

    assert run("--list").splitlines()[-1].startswith("3 clips")
    run("--label", f"{names[0]}=sad", "--delete", names[1])
    listed = json.loads(run("--json"))
    assert [(clip["clip"], clip["reviewed"]) for clip in listed] == [(names[0], "sad"), (names[2], None)]
    run("--delete", "all")
    assert clips_in(folder / "clips") == []
    assert (folder / "clips" / "song.flac").exists(), "what is not ours is left alone"
    with pytest.raises(UsageError, match="There is no clip named 'x'"):
        run("--delete", "x")


def test_a_folder_without_clips_says_how_they_come(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"they are kept while record\.clips = true"):
        clips_folder(tmp_path)


@pytest.mark.real
def test_it_asks_for_each_clip_in_a_terminal(tmp_path: Path) -> None:
    for number in range(3):
        write_clip(tmp_path, about(number), ramp(0.1))
    with Terminal(sys.executable, "-m", "streamer", "review", str(tmp_path)) as terminal:
        for number, answer in enumerate(("4\r", "\r", "d\r"), 1):
            terminal.shows(f"{number} of 3")
            terminal.press(answer)
        terminal.shows("all were heard")
        terminal.wait()
    assert [(clip.about.id[-1], clip.reviewed) for clip in clips_in(tmp_path)] == [("0", "sad"), ("1", "angry")]


@pytest.mark.slow
def test_a_recording_with_clips_says_so_in_info_and_on_standard_error(tmp_path: Path) -> None:
    samples, rate = soundfile.read(DEMO, dtype="float32", frames=16 * RATE)
    soundfile.write(tmp_path / "talk.wav", samples, rate)
    (tmp_path / "easily.toml").write_text("[model]\nthreshold = 0.3\n")  # a synthetic voice has no clear mood
    record = [sys.executable, "-m", "streamer", "record", str(tmp_path / "sessions"), str(tmp_path / "talk.wav")]
    options = ["--headless", "--mqtt", "off", "--clips", "--config", str(tmp_path / "easily.toml")]
    done = subprocess.run([*record, *options], capture_output=True, text=True, check=True)
    assert "AUDIO IS KEPT: 6 s around each new emotion" in done.stderr
    events = list(JournalReader(journals([tmp_path / "sessions"])))
    assert [event.clips for event in events if isinstance(event, Info)] == [True]
    begun = [event for event in events if isinstance(event, EmotionStarted)]
    assert [clip.about.id for clip in clips_in(tmp_path / "sessions" / "clips")] == [event.id for event in begun]
    assert begun
