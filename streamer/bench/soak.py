"""Endurance test: run the program for hours and check memory, lost audio and timestamps.

The real `streamer run` runs in its own process and is observed from outside. A live soak captures a virtual microphone
that plays speech endlessly, and publishes to a broker; a fast soak reads raw PCM from a pipe as fast as the model goes,
speech and the noise of a quiet room in turns, so that the stream rests and wakes.
One row of JSON a minute, with the verdict so far, is appended to a file, so that an interrupted soak still has a
result.
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

from streamer.bench.figures import Criterion, all_met
from streamer.bench.local_broker import LocalBroker
from streamer.bench.program import Program, end
from streamer.bench.soak_audit import Audit, Row, SoakKind, judge, none_of
from streamer.bench.virtual_microphone import VirtualMicrophone
from streamer.constants import FRAME_SAMPLES, SAMPLE_RATE
from streamer.errors import StreamerError
from streamer.settings import Settings
from streamer.sources.demo import DEMO

START_S = 60.0  # for the first window
LOADED_START_S = 240.0  # the same, under a load that is more than the machine can serve
HANG_S = 300.0  # a monitor without any event for so long hangs; shorter pauses may be a busy machine
LOAD_STREAMS = 16  # per core: more than the whole program carries in real time, so that every core stays busy
HELD_SAMPLES = 2 * SAMPLE_RATE  # the end of a fast soak, held back until the last row is taken
SPEECH_S, SILENCE_S = (4.0, 30.0), (4.0, 120.0)  # the shortest and the longest turn in a fast soak
ROOM_RMS = 10 ** (-60 / 20)
AUDITED = "mic"  # the stream that is audited under load

OnRow = Callable[[Row], None]


@dataclass(frozen=True, slots=True)
class SoakReport:
    """The rows of a whole soak, and its criteria."""

    kind: SoakKind
    rows: tuple[Row, ...]
    criteria: tuple[Criterion, ...]


@dataclass
class _SoakLog:
    """Takes rows and writes them into the file."""

    program: Program
    audit: Audit
    file: Path
    kind: SoakKind
    on_row: OnRow
    rows: list[Row] = field(default_factory=list)
    _cpu: tuple[float, float] | None = None  # (monotonic, CPU seconds) at the row before

    def write(self) -> None:
        """Take a row now."""
        usage, now_s = self.program.usage(), time.monotonic()
        before_s, before_cpu_s = self._cpu or (self.program.began_s, 0.0)
        self._cpu = (now_s, usage.cpu_s)
        row = self.audit.row(usage, 100 * (usage.cpu_s - before_cpu_s) / (now_s - before_s))
        self.rows.append(row)
        failed = [criterion.name for criterion in judge(self.rows, self.kind) if not criterion.met]
        self._append({"kind": self.kind, **asdict(row), "failed": failed})
        self.on_row(row)

    def close(self, fed_samples: int | None = None) -> SoakReport:
        """Write the verdict and return the report; `fed_samples` must all have been processed."""
        criteria = judge(self.rows, self.kind)
        if fed_samples is not None:
            criteria.append(none_of("samples fed and not processed", fed_samples - self.audit.position))
        report = SoakReport(self.kind, tuple(self.rows), tuple(criteria))
        self._append({"kind": self.kind, "met": all_met(criteria), "criteria": [asdict(c) for c in report.criteria]})
        return report

    def _append(self, values: dict[str, Any]) -> None:
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values, allow_nan=False) + "\n")


def soak_live(minutes: float, file: Path, on_row: OnRow, *, load: bool = False) -> SoakReport:
    """Capture a virtual microphone for `minutes` of wall time; `load` adds as many streams as saturate all cores.

    Raises:
        StreamerError: a part is missing, or the monitor ended or hangs.
    """
    kind: SoakKind = "live, all cores loaded" if load else "live"
    with ExitStack() as stack:
        microphone = stack.enter_context(VirtualMicrophone())
        broker = stack.enter_context(LocalBroker())
        config = f'[[stream]]\nname = "{AUDITED}"\nsource = "mic"\n'
        if load:
            tables = _load_tables(stack, minutes)
            config += tables
            for _ in range(1, os.cpu_count() or 1):
                stack.callback(end, _other_monitor(stack, tables))
        program = stack.enter_context(Program("--mqtt", broker.url, env=microphone.env, config=config))
        player = microphone.player(SAMPLE_RATE)
        stack.callback(end, player)
        threading.Thread(target=_feed, args=(player, _endless_speech()), daemon=True).start()
        log = _SoakLog(program, _audit(), file, kind, on_row)
        began_s = _wait_for_first_window(log, LOADED_START_S if load else START_S)
        row_s = _row_s(minutes)
        for number in range(1, round(60 * minutes / row_s) + 1):
            while time.monotonic() < began_s + number * row_s and _take_event(log):
                pass
            log.write()  # raises where the monitor has ended
        return log.close()


def soak_fast(minutes: float, file: Path, on_row: OnRow) -> SoakReport:
    """Process `minutes` of speech and silence in turns from a pipe as fast as the model goes.

    Raises:
        StreamerError: the monitor ended or hangs.
    """
    audit = _audit()
    hops = round(60 * minutes * SAMPLE_RATE / audit.hop_samples)  # whole hops: no shorter last window
    total = hops * audit.hop_samples
    last_row = total - 2 * HELD_SAMPLES  # position by which the last row is taken
    row_samples = round(_row_s(minutes) * SAMPLE_RATE)
    arguments = ("-", "--fast", "--format", "s16le", "--rate", str(SAMPLE_RATE), "--mqtt", "off")
    with Program(*arguments, piped=True) as program:
        log = _SoakLog(program, audit, file, "fast", on_row)
        rows_taken = threading.Event()
        turns = _cut(_speech_and_silence(), total - HELD_SAMPLES)
        blocks = chain(turns, _hold_until(rows_taken, _cut(_endless_speech(), HELD_SAMPLES)))
        threading.Thread(target=_feed, args=(program.process, blocks), daemon=True).start()
        for due in range(row_samples, total + row_samples, row_samples):
            while audit.position < min(due, last_row) and _take_event(log):
                pass
            log.write()  # raises where the monitor has ended
        rows_taken.set()
        while _take_event(log):
            pass
        if program.process.wait(HANG_S) != 0:
            raise program.failure()
        return log.close(fed_samples=total)


def _audit() -> Audit:
    return Audit(Settings().window.hop_frames * FRAME_SAMPLES)


def _row_s(minutes: float) -> float:
    """Return the length of a row: a minute, or a quarter of a soak of less than four minutes."""
    return min(60.0, 60.0 * minutes / 4)


def _wait_for_first_window(log: _SoakLog, within_s: float) -> float:
    """Wait for the audited stream's first window and return its monotonic time."""
    deadline = time.monotonic() + within_s
    while not log.audit.windows:
        try:
            line = log.program.line(1.0)
        except EOFError:
            raise log.program.failure() from None
        if line is not None:
            _record(log.audit, line.event, line.epoch_s)
        elif time.monotonic() > deadline:
            raise StreamerError(
                f"The monitor gets no audio from the virtual microphone; {log.program.last_message()}. "
                "ALSA's PulseAudio plugin (libasound2-plugins) may be missing."
            )
    return time.monotonic()


def _take_event(log: _SoakLog) -> bool:
    """Pass the next event of any stream to the audit; return False once the monitor has closed its output."""
    try:
        line = log.program.line(HANG_S)
    except EOFError:
        return False
    if line is None:
        raise StreamerError(f"The monitor sent no event for {HANG_S:g} s; {log.program.last_message()}.")
    _record(log.audit, line.event, line.epoch_s)
    return True


def _record(audit: Audit, event: dict[str, Any], arrived_s: float) -> None:
    """Pass one event to the audit if it belongs to the audited stream."""
    if event.get("stream") not in (AUDITED, "stdin"):
        return
    if event["type"] == "window":
        audit.record_window(event, arrived_s)
    elif event["type"] == "health":
        audit.record_health(event)


def _endless_speech() -> Iterator[bytes]:
    """Yield the bundled speech as blocks of s16le PCM at 24 kHz, over and over."""
    audio, rate_hz = soundfile.read(DEMO, dtype="int16")
    assert rate_hz == SAMPLE_RATE
    while True:
        for block in np.array_split(audio, max(1, len(audio) // SAMPLE_RATE)):
            yield block.astype("<i2").tobytes()


def _speech_and_silence() -> Iterator[bytes]:
    """Yield the speech and the noise of a quiet room in turns of random length, for ever, as blocks of s16le PCM."""
    rng, speech = np.random.default_rng(0), _endless_speech()
    while True:
        yield from _cut(speech, int(rng.uniform(*SPEECH_S) * SAMPLE_RATE))
        for _ in range(int(rng.uniform(*SILENCE_S))):
            noise = 32_768 * ROOM_RMS * rng.standard_normal(SAMPLE_RATE)
            yield noise.round().astype("<i2").tobytes()


def _cut(blocks: Iterator[bytes], samples: int) -> Iterator[bytes]:
    """Yield the first `samples` samples of `blocks`; what is left of the last block is dropped."""
    left = 2 * samples  # bytes
    for block in blocks:
        yield block[:left]
        left -= len(block)
        if left <= 0:
            return


def _hold_until(event: threading.Event, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield `blocks` once `event` is set."""
    event.wait()
    yield from blocks


def _feed(process: Popen[bytes], blocks: Iterator[bytes]) -> None:
    """Write all blocks, or until the reader is gone; the pipe sets the pace."""
    assert process.stdin is not None
    try:
        for block in blocks:
            process.stdin.write(block)
        process.stdin.close()
    except (OSError, ValueError):  # it has ended
        return


def _load_tables(stack: ExitStack, minutes: float) -> str:
    """Return stream tables of so many recordings that they keep one core busy for longer than the soak lasts."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamer-load-")))
    recording = folder / "load.wav"
    seconds = 60 * minutes + LOADED_START_S + 60
    with soundfile.SoundFile(recording, "w", SAMPLE_RATE, 1, subtype="PCM_16") as file:
        for block in _cut(_endless_speech(), round(seconds * SAMPLE_RATE)):
            file.buffer_write(block, dtype="int16")
    return "".join(f'[[stream]]\nname = "load-{n}"\nsource = "{recording}"\n' for n in range(LOAD_STREAMS))


def _other_monitor(stack: ExitStack, load_tables: str) -> Popen[bytes]:
    """Start a monitor that loads one of the other cores; its output is discarded."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamer-load-")))
    config = folder / "load.toml"
    config.write_text(load_tables)
    return Popen(
        [sys.executable, "-m", "streamer", "run", "--headless", "--mqtt", "off", "--config", str(config)],
        stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL,
    )  # fmt: skip
