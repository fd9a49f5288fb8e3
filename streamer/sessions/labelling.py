"""Label recordings one by one in a process of its own: each through the live path, into a journal and a table."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from streamer.errors import StreamerError
from streamer.events import Event, Window, to_json
from streamer.names import slugify
from streamer.publish.throttle import Throttle
from streamer.replacing import replacing
from streamer.sessions.journal import JournalReader
from streamer.sessions.session import StreamSession, read_session
from streamer.sessions.tables import TableFormat, WindowRows, emotion_rows, survey, window_columns, write_table
from streamer.settings import Settings

PROGRESS_S = 0.5  # between two reports of how far a recording is


@dataclass(frozen=True, slots=True)
class Job:
    """One recording to be labelled."""

    name: str  # as it is shown, relative to the folder that was given
    path: Path
    journal: Path  # to be written
    table: Path  # of its windows, to be written
    format: TableFormat
    channel: int | None  # None: the mean of all
    track: int


@dataclass(frozen=True, slots=True)
class Labelled:
    """What became of a recording; plain values, for they are kept as JSON."""

    problem: str  # what could not be read, in one sentence; empty where all was
    model: str
    model_sha256: str
    threshold: float | None
    labels: tuple[str, ...]
    audio_s: float
    speech_s: float
    windows: int
    emotions: list[list[Any]]  # rows of `tables.EMOTION_COLUMNS`


@dataclass(frozen=True, slots=True)
class Report:
    """What a process says of a job: that it began, how far it is, or what became of it."""

    process: int
    name: str
    seconds: float = 0.0  # of audio since the last report
    labelled: Labelled | None = None
    failure: str = ""


@dataclass(frozen=True)
class Line:
    """A process's end of the pipe to the one that started it."""

    pipe: Connection

    def get(self) -> "Job | None":
        """Wait for the next job; None: there is none, for the other end is closed."""
        try:
            job: Job = self.pipe.recv()
        except (EOFError, OSError):
            return None
        return job

    def put(self, report: "Report") -> None:
        """Send a report."""
        self.pipe.send(report)


def serve(settings: Settings, jobs: Line, reports: Line) -> None:
    """Load the model once and label what comes, until nothing can come; the body of a process.

    Ctrl-C is left to the process that started this one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    me = os.getpid()
    labeller: Labeller | None = None

    def advance(name: str, seconds: float) -> None:
        reports.put(Report(me, name, seconds))

    while (job := jobs.get()) is not None:
        reports.put(Report(me, job.name))
        try:
            labeller = labeller or Labeller(settings)
            labelled = labeller.label(job, partial(advance, job.name))
        except (StreamerError, OSError) as error:
            reports.put(Report(me, job.name, failure=str(error)))
        else:
            reports.put(Report(me, job.name, labelled=labelled))


class Labeller:
    """A loaded model, and a row of the batch that recordings pass through one by one.

    Raises:
        StreamerError: the model or the device cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        from streamer.pipeline.build import build_inference, stream_settings

        self._settings = settings
        self._inference = build_inference(settings, rows=1)
        self._inference.remove(0)  # the worker releases the row of each recording that has ended
        self._each = stream_settings(settings, self._inference.model)

    def label(self, job: Job, advance: Callable[[float], None]) -> Labelled:
        """Write the journal and the table of one recording, and return its summary.

        Args:
            job: what, and where to.
            advance: receives seconds of audio as they are done.

        Raises:
            StreamerError: nothing of it can be read.
            OSError: a file cannot be written.
        """
        for path in (job.journal, job.table):
            path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(job.journal) as part:
            problem = self._listen(job, part, advance)
        reader = JournalReader([job.journal])
        session = read_session(reader)
        if not session.streams or not session.streams[0].windows:
            job.journal.unlink()
            raise StreamerError(problem or "holds too little sound: not one window")
        known = survey([job.journal])
        rows = WindowRows(known.labels, known.begin).rows(JournalReader([job.journal]))
        write_table(job.table, job.format, window_columns(known.labels), rows, known.about | {"file": job.name})
        (stream,) = session.streams
        return self._summary(problem, stream, [list(row) for row in emotion_rows(session)])

    def _listen(self, job: Job, target: Path, advance: Callable[[float], None]) -> str:
        """Pass the recording through the worker and write its events; return what could not be read."""
        from streamer.pipeline.build import describe
        from streamer.pipeline.sink import EventSink
        from streamer.pipeline.worker import Worker
        from streamer.sources.open import SourceOptions, SourceSpec, open_source

        name = slugify(job.path.stem)
        options = SourceOptions(fast=True, channel=job.channel, track=job.track)
        source = open_source(SourceSpec("recording", str(job.path)), options, name=name)
        throttle, newest_s, done_s, told = Throttle(), 0.0, 0.0, time.monotonic()
        with target.open("w", encoding="utf-8") as file:
            file.write(to_json(describe(self._settings, self._inference, (name,), ())) + "\n")

            def take(event: Event) -> None:
                nonlocal newest_s, done_s, told
                if throttle.due(event):
                    file.write(to_json(event) + "\n")
                if isinstance(event, Window):
                    newest_s = event.end_s
                    if time.monotonic() - told >= PROGRESS_S:
                        advance(newest_s - done_s)
                        done_s, told = newest_s, time.monotonic()

            self._inference.add()
            source.start()
            try:
                Worker(self._inference, [source], self._each, sink=EventSink(take)).run()
            finally:
                source.stop()
            advance(max(0.0, newest_s - done_s))
        status = source.status()
        return status.detail if status.state == "failed" else ""

    def _summary(self, problem: str, stream: StreamSession, emotions: list[list[Any]]) -> Labelled:
        model = self._inference.model
        return Labelled(
            problem=problem,
            model=model.card.name if model.card else "",
            model_sha256=model.sha256 or "",
            threshold=self._each.rule.threshold,
            labels=model.labels,
            audio_s=round(stream.audio_s, 3),
            speech_s=round(stream.speech_s, 3),
            windows=stream.windows,
            emotions=emotions,
        )
