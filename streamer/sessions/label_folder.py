"""Label many recordings: processes side by side, progress, and going on where an earlier run stopped."""

import contextlib
import hashlib
import json
import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Protocol

from streamer import __version__
from streamer.errors import StreamerError
from streamer.sessions.labelling import Job, Labelled, Line, Report, serve
from streamer.sessions.tables import TableFormat
from streamer.settings import Settings

DONE = "progress.jsonl"  # a line a recording: what it was labelled with, and what became of it
EVENTS, WINDOWS = "events", "windows"
DIED = "ended the process that read it; look at this file by itself"


class Progress(Protocol):
    """Where the work is reported."""

    def advance(self, seconds: float) -> None:
        """Report that so many seconds more of audio were labelled."""
        ...

    def done(self, name: str, failure: str) -> None:
        """Report that a recording is done with; `failure` says why it could not be, and is empty where it was."""
        ...


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording, and what it is called in the tables."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class LabelOptions:
    """How recordings are labelled."""

    format: TableFormat = "csv"
    jobs: int = 1  # processes
    channel: int | None = None  # None: the mean of all
    track: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Every recording with what became of it, in the order in which they were given."""

    labelled: dict[str, Labelled]  # by name
    failures: dict[str, str]  # name → why it could not be labelled
    reused: int  # of `labelled`, from an earlier run


class Runner(Protocol):
    """Labels recordings somewhere else than in processes of this machine."""

    def __call__(self, jobs: Sequence[Job], settings: Settings) -> Iterator[Report]:
        """Yield the last report of each job."""
        ...


def label_recordings(
    recordings: Sequence[Recording],
    out: Path,
    settings: Settings,
    options: LabelOptions,
    progress: Progress,
    runner: Runner | None = None,
) -> Outcome:
    """Label all recordings that an earlier run with the same settings did not; journals and tables go under `out`.

    Without a `runner` that is done by processes of this machine.

    Raises:
        OSError: `out` cannot be written.
    """
    kept = _read_done(out / DONE)
    labelled: dict[str, Labelled] = {}
    jobs: dict[str, Job] = {}
    keys: dict[str, str] = {}
    for recording in recordings:
        job = _job(recording, out, options)
        key = keys[recording.name] = _key(recording.path, settings, options)
        entry = kept.get(recording.name)
        if entry is not None and entry[0] == key and job.journal.exists() and job.table.exists():
            labelled[recording.name] = entry[1]
            progress.done(recording.name, "")
        else:
            jobs[recording.name] = job
    reused, failures = len(labelled), {}
    with (out / DONE).open("a", encoding="utf-8") as done:
        done.write("\n")  # a kill may have cut the last line
        reports = runner(list(jobs.values()), settings) if runner else _run(jobs, settings, options.jobs, progress)
        for report in reports:
            if report.labelled is None:
                failures[report.name] = report.failure.removeprefix(f"{str(jobs[report.name].path)!r} ")
            else:
                labelled[report.name] = report.labelled
                line = {"file": report.name, "key": keys[report.name], **asdict(report.labelled)}
                done.write(json.dumps(line) + "\n")
                done.flush()
            if runner is not None and report.labelled is not None:
                progress.advance(report.labelled.audio_s)
            progress.done(report.name, failures.get(report.name, ""))
    ordered = {recording.name: labelled[recording.name] for recording in recordings if recording.name in labelled}
    return Outcome(ordered, failures, reused)


def _run(jobs: dict[str, Job], settings: Settings, most: int, progress: Progress) -> Iterator[Report]:
    """Yield the last report of each job, from as many processes as there is work for."""
    if not jobs:
        return
    pool = _Pool(settings, list(jobs.values()))
    try:
        for _ in range(min(most, len(jobs))):
            pool.start()
        for report in pool.reports():
            progress.advance(report.seconds)
            if report.labelled is not None or report.failure:
                yield report
    finally:
        pool.close()


class _Pool:
    """Processes with a pipe each; one that dies is replaced, and its job is known.

    They share no queue: whoever is killed while he holds a queue's lock leaves all others waiting for ever.
    """

    def __init__(self, settings: Settings, jobs: Sequence[Job]) -> None:
        self._settings = settings
        self._waiting = deque(jobs)
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[Connection, SpawnProcess] = {}
        self._at_work: dict[Connection, str] = {}  # pipe of a process → the job that it was given
        self._heard = False  # of any process

    def start(self) -> None:
        """Start a process, and give it the next job."""
        ours, theirs = self._context.Pipe()
        line = Line(theirs)
        process = self._context.Process(target=serve, args=(self._settings, line, line), daemon=True)
        process.start()
        theirs.close()
        self._processes[ours] = process
        self._hand_out(ours)

    def reports(self) -> Iterator[Report]:
        """Yield what the processes report until every job has its last report.

        Raises:
            StreamerError: a process ended before any of them reported.
        """
        while self._at_work:
            for pipe in wait(list(self._at_work)):
                assert isinstance(pipe, Connection)
                try:
                    report: Report = pipe.recv()
                except (EOFError, OSError):
                    yield self._replace(pipe)
                    continue
                self._heard = True
                if report.labelled is not None or report.failure:
                    self._hand_out(pipe)
                yield report

    def close(self) -> None:
        """End all processes."""
        for process in self._processes.values():
            process.terminate()
        for pipe, process in self._processes.items():
            process.join(5.0)
            pipe.close()

    def _hand_out(self, pipe: Connection) -> None:
        self._at_work.pop(pipe, None)
        if self._waiting:
            job = self._waiting.popleft()
            self._at_work[pipe] = job.name
            with contextlib.suppress(OSError):  # it has died, which the next look tells
                pipe.send(job)

    def _replace(self, pipe: Connection) -> Report:
        """Start another process in place of one that died, and return the report of what it was given."""
        if not self._heard:
            raise StreamerError("The processes end before they have begun; try `streamer doctor`.")
        name = self._at_work.pop(pipe)
        self._processes.pop(pipe).join(5.0)
        pipe.close()
        if self._waiting:
            self.start()
        return Report(0, name, failure=DIED)


def default_jobs(settings: Settings) -> int:
    """Return how many processes suit this machine: its cores, as far as there is memory; one on an accelerator."""
    import psutil

    from streamer.codec.device import choose_device

    if choose_device(settings.model.device) != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    in_memory: int = psutil.virtual_memory().available // (700 << 20)  # a process has some 600 MB
    return max(1, min(cores // settings.model.threads, in_memory))


def unique_names(recordings: Sequence[Recording]) -> list[Recording]:
    """Return the recordings with names that differ, also in file names: those of one name get a number."""
    seen: dict[str, int] = {}
    named = []
    for recording in recordings:
        number = seen[recording.name] = seen.get(recording.name, 0) + 1
        named.append(recording if number == 1 else replace(recording, name=f"{recording.name}~{number}"))
    return named


def _job(recording: Recording, out: Path, options: LabelOptions) -> Job:
    return Job(
        name=recording.name,
        path=recording.path.absolute(),
        journal=out.absolute() / EVENTS / f"{recording.name}.jsonl",
        table=out.absolute() / WINDOWS / f"{recording.name}.{options.format}",
        format=options.format,
        channel=options.channel,
        track=options.track,
    )


def _key(path: Path, settings: Settings, options: LabelOptions) -> str:
    """Return a digest of all that the labels depend on: the file, the model and its settings, this program."""
    status = path.stat()
    tables = {name: getattr(settings, name).model_dump(mode="json") for name in ("window", "model", "voice", "tracker")}
    checkpoint = Path(settings.model.checkpoint)
    model = [checkpoint.stat().st_size, checkpoint.stat().st_mtime_ns] if checkpoint.is_file() else []
    tables["model"].pop("threads")
    facts = [
        str(path.absolute()), status.st_size, status.st_mtime_ns, tables, model, __version__, options.channel,
        options.track,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _read_done(path: Path) -> dict[str, tuple[str, Labelled]]:
    """Return key and result of each recording that was labelled; a torn or foreign line is passed over."""
    found = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    for line in lines:
        try:
            entry = json.loads(line)
            name, key = entry.pop("file"), entry.pop("key")
            found[name] = (key, Labelled(**{**entry, "labels": tuple(entry["labels"])}))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return found
