"""Label many recordings: processes side by side, progress, and going on where an earlier run stopped."""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import Protocol

from streamer import __version__
from streamer.config import Settings
from streamer.errors import StreamerError
from streamer.sessions.labelling import Job, Labelled, Report, serve
from streamer.sessions.tables import TableFormat

DONE = "progress.jsonl"  # a line a recording: what it was labelled with, and what became of it
EVENTS, WINDOWS = "events", "windows"
_LOOK_S = 0.5  # between two looks whether the processes live


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


def label_recordings(
    recordings: Sequence[Recording], out: Path, settings: Settings, options: LabelOptions, progress: Progress
) -> Outcome:
    """Label all recordings that an earlier run with the same settings did not; journals and tables go under `out`.

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
        for report in _run(jobs, settings, options.jobs, progress):
            if report.labelled is None:
                failures[report.name] = report.failure.removeprefix(f"{str(jobs[report.name].path)!r} ")
            else:
                labelled[report.name] = report.labelled
                line = {"file": report.name, "key": keys[report.name], **asdict(report.labelled)}
                done.write(json.dumps(line) + "\n")
                done.flush()
            progress.done(report.name, failures.get(report.name, ""))
    ordered = {recording.name: labelled[recording.name] for recording in recordings if recording.name in labelled}
    return Outcome(ordered, failures, reused)


def _run(jobs: dict[str, Job], settings: Settings, most: int, progress: Progress) -> Iterator[Report]:
    """Yield the last report of each job, from as many processes as there is work for."""
    if not jobs:
        return
    context = multiprocessing.get_context("spawn")
    pool = _Pool(context, lambda jobs, reports: (settings, jobs, reports))
    try:
        for _ in range(min(most, len(jobs))):
            pool.start()
        for job in jobs.values():
            pool.jobs.put(job)
        left = set(jobs)
        while left:
            report = pool.report()
            if report is None:
                for name in pool.lost() & left:
                    left.discard(name)
                    yield Report(0, name, failure="ended the process that read it; look at this file by itself")
                if left and not pool.alive():
                    raise StreamerError("The processes end before they have begun; try `streamer doctor`.")
                continue
            progress.advance(report.seconds)
            if report.labelled is not None or report.failure:
                left.discard(report.name)
                yield report
    finally:
        pool.close()


class _Pool:
    """Processes that take jobs from one queue; one that dies is replaced, and its job is known."""

    def __init__(
        self, context: SpawnContext, arguments: Callable[["Queue[Job | None]", "Queue[Report]"], tuple[object, ...]]
    ) -> None:
        self.jobs: Queue[Job | None] = context.Queue()
        self._reports: Queue[Report] = context.Queue()
        self._context = context
        self._arguments = arguments
        self._processes: dict[int, SpawnProcess] = {}
        self._at_work: dict[int, str] = {}  # process → the job that it began
        self._began = 0

    def start(self) -> None:
        process = self._context.Process(target=serve, args=self._arguments(self.jobs, self._reports), daemon=True)
        process.start()
        assert process.pid is not None
        self._processes[process.pid] = process

    def report(self) -> Report | None:
        """Return the next report; None where none came for a while."""
        try:
            report = self._reports.get(timeout=_LOOK_S)
        except Empty:
            return None
        if report.labelled is not None or report.failure:
            self._at_work.pop(report.process, None)
        else:
            self._began += report.process not in self._at_work
            self._at_work[report.process] = report.name
        return report

    def lost(self) -> set[str]:
        """Return the jobs of processes that died, which are replaced."""
        lost = set()
        for number, process in list(self._processes.items()):
            if not process.is_alive():
                del self._processes[number]
                name = self._at_work.pop(number, None)
                if name is not None:
                    lost.add(name)
                    self.start()
        return lost

    def alive(self) -> bool:
        return bool(self._processes)

    def close(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.join(5.0)
        for queue in (self.jobs, self._reports):
            queue.cancel_join_thread()
            queue.close()


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
        journal=out / EVENTS / f"{recording.name}.jsonl",
        table=out / WINDOWS / f"{recording.name}.{options.format}",
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
