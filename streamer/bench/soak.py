"""The program for hours: does it grow, does it lose audio without saying so, does its time stay true?

The real `streamer run` runs in a process of its own and is looked at from outside. Live, it hears a virtual microphone
that speaks without end, and publishes to a broker; fast, raw PCM comes through a pipe as fast as it is taken. A row of
JSON a minute goes into a file with the verdict so far, so that a soak that is cut off still tells.
"""

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import numpy as np
import soundfile

from streamer.audio.open import DEMO
from streamer.bench.figures import Criterion
from streamer.bench.local_broker import LocalBroker
from streamer.bench.program import Program, end
from streamer.bench.soak_audit import Audit, Row, SoakKind, judge, none_of
from streamer.bench.virtual_microphone import VirtualMicrophone
from streamer.config import Settings
from streamer.constants import FRAME_SAMPLES, SAMPLE_RATE
from streamer.errors import StreamerError

START_S = 60.0  # for the first window
LOADED_START_S = 240.0  # for the same, of a program that is made to be too much for the machine
SILENCE_S = 300.0  # a monitor that says nothing for so long hangs: a machine can be busy with other things, too
LOAD_STREAMS = 16  # a core: more than the whole program carries in real time, so that every core stays busy
HELD_SAMPLES = 2 * SAMPLE_RATE  # the end of a fast soak, held back until the program was looked at for the last time
HEARD = "mic"  # the stream that is audited under load

OnRow = Callable[[Row], None]


@dataclass(frozen=True, slots=True)
class SoakReport:
    """The whole soak."""

    kind: SoakKind
    rows: tuple[Row, ...]
    criteria: tuple[Criterion, ...]

    @property
    def met(self) -> bool:
        """Every criterion is."""
        return all(criterion.met for criterion in self.criteria)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass
class _Book:
    """Rows as they are taken, on their way into the file."""

    program: Program
    audit: Audit
    file: Path
    kind: SoakKind
    on_row: OnRow
    rows: list[Row] = field(default_factory=list)
    _cpu: tuple[float, float] | None = None  # (monotonic, CPU seconds) at the row before

    def write(self) -> None:
        """A row of this moment."""
        usage, now_s = self.program.usage(), time.monotonic()
        before_s, before_cpu_s = self._cpu or (self.program.began_s, 0.0)
        self._cpu = (now_s, usage.cpu_s)
        row = self.audit.row(usage, 100 * (usage.cpu_s - before_cpu_s) / (now_s - before_s))
        self.rows.append(row)
        failed = [criterion.name for criterion in judge(self.rows, self.kind) if not criterion.met]
        self._append({"kind": self.kind, **asdict(row), "failed": failed})
        self.on_row(row)

    def close(self, fed_samples: int | None = None) -> SoakReport:
        """The verdict."""
        criteria = judge(self.rows, self.kind)
        if fed_samples is not None:
            criteria.append(none_of("samples fed and not heard", fed_samples - self.audit.position))
        report = SoakReport(self.kind, tuple(self.rows), tuple(criteria))
        self._append({"kind": self.kind, "met": report.met, "criteria": [asdict(c) for c in report.criteria]})
        return report

    def _append(self, values: dict[str, Any]) -> None:
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values, allow_nan=False) + "\n")


def soak_live(minutes: float, file: Path, on_row: OnRow, *, load: bool = False) -> SoakReport:
    """Hear a virtual microphone for `minutes` of wall time; with `load` beside as many streams as saturate all cores.

    Raises:
        StreamerError: a part is missing, or the monitor ended or fell silent.
    """
    kind: SoakKind = "live, all cores loaded" if load else "live"
    with ExitStack() as stack:
        microphone = stack.enter_context(VirtualMicrophone())
        broker = stack.enter_context(LocalBroker())
        config = f'[[stream]]\nname = "{HEARD}"\nsource = "mic"\n'
        if load:
            tables = _load_tables(stack, minutes)
            config += tables
            for _ in range(1, os.cpu_count() or 1):
                stack.callback(end, _other_monitor(stack, tables))
        program = stack.enter_context(Program("--mqtt", broker.url, env=microphone.env, config=config))
        player = microphone.player(SAMPLE_RATE)
        stack.callback(end, player)
        threading.Thread(target=_feed, args=(player, _speech_for_ever()), daemon=True).start()
        book = _Book(program, _audit(), file, kind, on_row)
        began_s = _until_heard(book, LOADED_START_S if load else START_S)
        row_s = _row_s(minutes)
        for number in range(1, round(60 * minutes / row_s) + 1):
            while time.monotonic() < began_s + number * row_s and _hear_one(book):
                pass
            book.write()  # raises where the monitor has ended
        return book.close()


def soak_fast(minutes: float, file: Path, on_row: OnRow) -> SoakReport:
    """Hear `minutes` of speech from a pipe as fast as the model goes.

    Raises:
        StreamerError: the monitor ended or fell silent.
    """
    audit = _audit()
    total = (
        round(60 * minutes * SAMPLE_RATE / audit.hop_samples) * audit.hop_samples
    )  # whole hops: no shorter last window
    most = total - 2 * HELD_SAMPLES  # by then the last row is taken
    row_samples = round(_row_s(minutes) * SAMPLE_RATE)
    arguments = ("-", "--fast", "--format", "s16le", "--rate", str(SAMPLE_RATE), "--mqtt", "off")
    with Program(*arguments, piped=True) as program:
        book = _Book(program, audit, file, "fast", on_row)
        rows_taken = threading.Event()
        blocks = chain(_speech(total - HELD_SAMPLES), _after(rows_taken, _speech(HELD_SAMPLES)))
        threading.Thread(target=_feed, args=(program.process, blocks), daemon=True).start()
        for due in range(row_samples, total + row_samples, row_samples):
            while audit.position < min(due, most) and _hear_one(book):
                pass
            book.write()  # raises where the monitor has ended
        rows_taken.set()
        while _hear_one(book):
            pass
        if program.process.wait(SILENCE_S) != 0:
            raise program.failure()
        return book.close(fed_samples=total)


def _audit() -> Audit:
    return Audit(Settings().window.hop_frames * FRAME_SAMPLES)


def _row_s(minutes: float) -> float:
    """A row a minute; a soak of less than four minutes has four."""
    return min(60.0, 60.0 * minutes / 4)


def _until_heard(book: _Book, within_s: float) -> float:
    """Wait for the audited stream's first window; the monotonic moment of it."""
    deadline = time.monotonic() + within_s
    while not book.audit.windows:
        try:
            line = book.program.line(1.0)
        except EOFError:
            raise book.program.failure() from None
        if line is not None:
            _note(book.audit, line.event, line.epoch_s)
        elif time.monotonic() > deadline:
            raise StreamerError(
                f"The monitor does not hear the virtual microphone; {book.program.last_words()}. "
                "ALSA's PulseAudio plugin (libasound2-plugins) may be missing."
            )
    return time.monotonic()


def _hear_one(book: _Book) -> bool:
    """The next event of any stream into the audit; False where the monitor has said all."""
    try:
        line = book.program.line(SILENCE_S)
    except EOFError:
        return False
    if line is None:
        raise StreamerError(f"The monitor said nothing for {SILENCE_S:g} s; {book.program.last_words()}.")
    _note(book.audit, line.event, line.epoch_s)
    return True


def _note(audit: Audit, event: dict[str, Any], arrived_s: float) -> None:
    """One event into the audit, if it is of the audited stream."""
    if event.get("stream") not in (HEARD, "stdin"):
        return
    if event["type"] == "window":
        audit.hear_window(event, arrived_s)
    elif event["type"] == "health":
        audit.hear_health(event)


def _speech_for_ever() -> Iterator[bytes]:
    """The bundled speech as blocks of s16le PCM at 24 kHz, again and again."""
    audio, rate_hz = soundfile.read(DEMO, dtype="int16")
    assert rate_hz == SAMPLE_RATE
    while True:
        for block in np.array_split(audio, max(1, len(audio) // SAMPLE_RATE)):
            yield block.astype("<i2").tobytes()


def _speech(samples: int) -> Iterator[bytes]:
    """As many samples of it."""
    left = 2 * samples  # bytes
    for block in _speech_for_ever():
        yield block[:left]
        left -= len(block)
        if left <= 0:
            return


def _after(moment: threading.Event, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """`blocks`, from `moment` on."""
    moment.wait()
    yield from blocks


def _feed(process: Popen[bytes], blocks: Iterator[bytes]) -> None:
    """Write until the reader is gone or the blocks are over; the pipe sets the pace."""
    assert process.stdin is not None
    try:
        for block in blocks:
            process.stdin.write(block)
        process.stdin.close()
    except (OSError, ValueError):  # it has ended
        return


def _load_tables(stack: ExitStack, minutes: float) -> str:
    """Settings of so many recordings that their encoder keeps one core busy for longer than the soak lasts."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamer-load-")))
    recording = folder / "load.wav"
    seconds = 60 * minutes + LOADED_START_S + 60
    with soundfile.SoundFile(recording, "w", SAMPLE_RATE, 1, subtype="PCM_16") as file:
        for block in _speech(round(seconds * SAMPLE_RATE)):
            file.buffer_write(block, dtype="int16")
    return "".join(f'[[stream]]\nname = "load-{n}"\nsource = "{recording}"\n' for n in range(LOAD_STREAMS))


def _other_monitor(stack: ExitStack, load_tables: str) -> Popen[bytes]:
    """A monitor for one of the other cores; nobody listens to it."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamer-load-")))
    config = folder / "load.toml"
    config.write_text(load_tables)
    return Popen(
        [sys.executable, "-m", "streamer", "run", "--headless", "--mqtt", "off", "--config", str(config)],
        stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL,
    )  # fmt: skip
