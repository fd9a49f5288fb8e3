"""Labelling folders: tables over recordings, resuming, and processes that die."""

import csv
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.events import Window, from_json
from streamer.sessions import label_folder
from streamer.sessions.label_folder import DONE, LabelOptions, Outcome, Recording, label_recordings, unique_names
from streamer.sessions.label_tables import write_tables
from streamer.sessions.labelling import Labelled, Line, Report
from streamer.settings import ModelConfig, Settings, VoiceConfig
from streamer.sources.demo import DEMO

LABELS = ("neutral", "angry")


@dataclass
class Reported:
    """Progress that a test looks at."""

    seconds: float = 0.0
    names: list[str] = field(default_factory=list)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds

    def done(self, name: str, failure: str) -> None:
        self.names.append(name)


def emotion(label: str, start_s: float, end_s: float) -> list[object]:
    return ["x", label, 0.0, 0.0, start_s, end_s, end_s - start_s, 0.6, 0.9, "k3f9-000001", True]


def labelled(*emotions: list[object], audio_s: float = 10.0) -> Labelled:
    return Labelled("", "bundled-8", "8da2", 0.5, LABELS, audio_s, 4.0, 40, list(emotions))


def fake_serve(settings: Settings, jobs: Line, reports: Line) -> None:
    """Label without a model; a file named `kills` ends the process as a crash in a decoder does."""
    while (job := jobs.get()) is not None:
        reports.put(Report(os.getpid(), job.name))
        if job.path.stem == "kills":
            os._exit(9)
        for path in (job.journal, job.table):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        reports.put(Report(os.getpid(), job.name, labelled=labelled(emotion("angry", 1.0, 5.0))))


def recordings(folder: Path, *names: str) -> list[Recording]:
    folder.mkdir(exist_ok=True)
    for name in names:
        if not (folder / name).exists():
            (folder / name).write_bytes(b"x")
    return [Recording(folder / name, name) for name in names]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_process_that_dies_costs_one_recording_and_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_folder, "serve", fake_serve)
    wanted = recordings(tmp_path / "in", "a.wav", "kills.wav", "b.wav", "c.wav")
    out = tmp_path / "out"
    out.mkdir()
    progress = Reported()
    outcome = label_recordings(wanted, out, Settings(), LabelOptions(jobs=1), progress)
    assert list(outcome.labelled) == ["a.wav", "b.wav", "c.wav"]
    assert list(outcome.failures) == ["kills.wav"]
    assert "look at this file by itself" in outcome.failures["kills.wav"]
    assert sorted(progress.names) == ["a.wav", "b.wav", "c.wav", "kills.wav"]


def test_an_earlier_run_is_gone_on_with_and_other_settings_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_folder, "serve", fake_serve)
    out = tmp_path / "out"
    out.mkdir()
    first = recordings(tmp_path / "in", "a.wav", "b.wav")
    label_recordings(first, out, Settings(), LabelOptions(), Reported())
    with (out / DONE).open("a") as file:
        file.write('{"file":"c.wav","key":"torn')  # a kill came
    three = recordings(tmp_path / "in", "a.wav", "b.wav", "c.wav")
    os.utime(tmp_path / "in" / "a.wav", ns=(0, 0))  # it was changed
    outcome = label_recordings(three, out, Settings(), LabelOptions(), Reported())
    assert (len(outcome.labelled), outcome.reused) == (3, 1)
    assert label_recordings(three, out, Settings(), LabelOptions(), Reported()).reused == 3
    more_threads = Settings(model=ModelConfig(threads=2))
    assert label_recordings(three, out, more_threads, LabelOptions(), Reported()).reused == 3
    other = Settings(voice=VoiceConfig(min_speech=0.4))
    assert label_recordings(three, out, other, LabelOptions(), Reported()).reused == 0


def test_recordings_of_one_name_get_files_of_their_own() -> None:
    same = [Recording(Path("a/x.wav"), "x.wav"), Recording(Path("b/x.wav"), "x.wav"), Recording(Path("y"), "y")]
    assert [recording.name for recording in unique_names(same)] == ["x.wav", "x.wav~2", "y"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_tables_have_a_row_an_emotion_and_a_row_a_recording(tmp_path: Path, kind: str) -> None:
    import pandas as pd

    wanted = [Recording(Path("a"), "a.wav"), Recording(Path("b"), "=b.wav")]
    heard = labelled(emotion("angry", 1.0, 5.0), emotion("neutral", 6.0, 7.0), emotion("angry", 8.0, 9.0))
    outcome = Outcome({"a.wav": heard}, {"=b.wav": "is empty"}, 0)
    paths = write_tables(tmp_path, kind, wanted, outcome)  # type: ignore[arg-type]
    emotions, summary = [pd.read_parquet(p) if kind == "parquet" else pd.read_csv(p) for p in paths]
    assert emotions.duration_s.tolist() == [4.0, 1.0, 1.0]
    assert set(emotions.columns) >= {"file", "label", "start_s", "end_s", "closed"}
    row = summary.iloc[0]
    assert (row.file, row.emotions, row.longest, row.model_sha256) == ("a.wav", 3, "angry", "8da2")
    assert (row.angry_share, row.neutral_share, row.none_share) == (0.5, 0.1, 0.4)
    assert summary.iloc[1].problem == "is empty"
    assert summary.iloc[1].file == ("=b.wav" if kind == "parquet" else "'=b.wav")


@pytest.mark.slow
def test_a_folder_is_labelled_as_run_labels_each_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    samples, rate = soundfile.read(DEMO, dtype="float32", frames=9 * 24_000)
    soundfile.write(folder / "sub" / "talk.wav", samples, rate)
    soundfile.write(folder / "noise.flac", np.zeros(rate, dtype=np.float32), rate)
    (folder / "broken.wav").write_bytes(b"no sound")
    out = tmp_path / "out"
    label = [sys.executable, "-m", "streamer", "label", str(folder), "-o", str(out), "--jobs", "1"]
    done = subprocess.run(label, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "1 of 3 recordings could not be read" in done.stderr
    assert done.stdout.split() == [str(out / "emotions.csv"), str(out / "summary.csv")]
    assert [row["file"] for row in rows(out / "summary.csv")] == ["broken.wav", "noise.flac", "sub/talk.wav"]

    run = [sys.executable, "-m", "streamer", "run", str(folder / "sub" / "talk.wav"), "--headless", "--fast"]
    printed = subprocess.run([*run, "--mqtt", "off"], capture_output=True, text=True, check=True).stdout
    wanted = [event for line in printed.splitlines() if isinstance(event := from_json(line), Window)]
    found = rows(out / "windows" / "sub" / "talk.wav.csv")
    assert [(row["end_s"], row["label"]) for row in found] == [(str(w.end_s), w.label or "") for w in wanted]
    assert [row["confidence"] for row in found] == [str(w.confidence if w.probs else "") for w in wanted]
    again = subprocess.run(label, capture_output=True, text=True, check=False)
    assert "2 were labelled before" in again.stderr
