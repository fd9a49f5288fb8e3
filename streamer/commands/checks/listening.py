"""Listen to sources for two seconds, as `streamer run` would hear them, and measure what comes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamer.arrays import Samples
from streamer.audio.meter import FULL_SCALE, rms_and_peak_dbfs
from streamer.commands.checks.finding import Finding, Verdict
from streamer.constants import SAMPLE_RATE
from streamer.errors import StreamerError
from streamer.sources.devices import silence_hint
from streamer.sources.source import Source, SourceStatus

LISTEN_S = 2.0
PATIENCE_S = 8.0  # until the first audio: a server that must be reached, a headset that wakes up
QUIET_DBFS = -60.0  # RMS below which speech would drown in a converter's own noise
OFFSET = 0.02  # of full scale, from which a mean is no rounding: the model's labels change without the high-pass
RATE_ERROR = 0.01  # share by which a device may miss the rate it claims; a pitch is then off by as much
_OVER = ("ended", "failed", "no device", "lost", "source lost")  # states after which nothing comes by itself


@dataclass(frozen=True, slots=True)
class Heard:
    """What one source delivered."""

    status: SourceStatus  # at the end
    samples: Samples  # [n] float32 at 24 kHz


def listen(
    sources: Sequence[Source], listen_s: float = LISTEN_S, patience_s: float = PATIENCE_S
) -> list[Heard | StreamerError]:
    """Start all sources, wait for the first audio of each, hear `listen_s` of it, and stop them.

    Returns for each what was heard, or why it cannot start.
    """
    failures: dict[int, StreamerError] = {}
    try:
        for index, source in enumerate(sources):
            try:
                source.start()
            except StreamerError as error:
                failures[index] = error
        started = [source for index, source in enumerate(sources) if index not in failures]
        until_s = time.monotonic() + patience_s + listen_s
        while any(_is_awaited(source, listen_s) for source in started) and time.monotonic() < until_s:
            time.sleep(0.05)
        return [
            failures.get(index) or Heard(source.status(), source.ring.recent(0)[0])
            for index, source in enumerate(sources)
        ]
    finally:
        for source in sources:
            source.stop()


def _is_awaited(source: Source, listen_s: float) -> bool:
    """Return whether more audio of `source` is worth waiting for."""
    if source.ring.stats().written >= listen_s * SAMPLE_RATE:
        return False
    return source.status().state not in _OVER


def judge(name: str, heard: Heard, live: bool) -> Finding:
    """Say how a source sounds, and what to do where that is not well.

    Args:
        name: of the finding.
        heard: what came.
        live: a microphone or a network source, which never ends and whose rate can be wrong.
    """
    status, samples = heard.status, heard.samples
    said = f"{status.device}: "
    if not len(samples):
        return Finding(name, "bad", status.detail or f"{said}no audio came within {PATIENCE_S:g} s; is it running?")
    if live and not samples.any():
        return Finding(name, "bad", f"{said}delivers only zeros: {silence_hint()}.")
    if live and status.state in _OVER:
        return Finding(name, "bad", status.detail)
    troubles = _troubles(samples, status if live else None)
    verdict: Verdict = "note" if troubles else "ok"
    rms_dbfs, peak_dbfs = rms_and_peak_dbfs(samples)
    rate = status.effective_rate_hz or status.native_rate_hz
    facts = f"{len(samples) / SAMPLE_RATE:.1f} s heard, {rms_dbfs:.0f} dBFS, peak {peak_dbfs:.0f} dBFS"
    facts += f", {rate:,.0f} Hz" if rate else ""
    notes = [status.detail.rstrip(".")] if status.detail else []
    return Finding(name, verdict, f"{said}{'; '.join([facts, *notes, *troubles])}.")


def _troubles(samples: Samples, status: SourceStatus | None) -> list[str]:
    """Return what may spoil the labels; each with its cure."""
    found = []
    rms_dbfs, _ = rms_and_peak_dbfs(samples)
    clipped = float(np.mean(np.abs(samples) >= FULL_SCALE))
    offset = float(np.mean(samples, dtype=np.float64))
    if clipped > 0:
        found.append(f"{clipped:.1%} of the samples are clipped: turn the input level down")
    if abs(offset) > OFFSET:
        found.append(f"a DC offset of {offset:.2f} of full scale: look at the sound card, or take another input")
    if samples.any() and rms_dbfs < QUIET_DBFS:
        found.append("very quiet: speak while this runs, and turn the input level up if it stays so")
    if status is not None and status.effective_rate_hz and status.native_rate_hz:
        error = status.effective_rate_hz / status.native_rate_hz - 1
        if abs(error) > RATE_ERROR:
            found.append(f"the rate is {error:+.1%} off what the device claims, and so is the pitch: try another input")
    return found
