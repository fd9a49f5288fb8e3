"""A microphone as a source: a supervisor thread opens it, checks it, reopens it, and writes its audio to the ring."""

import logging
import threading
from dataclasses import dataclass, field
from queue import Empty
from typing import Literal

from streamer.audio.clock import STEP_S, SYSTEM, BackOff, CaptureClock, Clock, Holes, RateMeter, WallClock
from streamer.audio.downmix import Downmix
from streamer.audio.resample import check_channel
from streamer.audio.ring import RingBuffer
from streamer.audio.ring_writer import RingWriter
from streamer.errors import UsageError
from streamer.sources import pulse
from streamer.sources.devices import DeviceInfo, find_device, list_devices, silence_hint
from streamer.sources.portaudio import Capture, CapturedBlock, DeviceError, InputStream, PortAudio, shared
from streamer.sources.sound_server import SoundServerEvents
from streamer.sources.source import STALLED, SourceState, SourceStatus

LOST_S = 1.0  # no callback for this long, or for `LOST_BLOCKS` blocks: the device is lost
LOST_BLOCKS = 4
FIRST_CALLBACK_S = 3.0  # wireless headsets and sound servers need up to this long to begin
SILENT_S = 2.0  # exact zeros for this long: a real microphone has noise
PROBE_S = 1.0  # between two looks for a device that is away, where no sound server tells that it came
SERVER_S = 0.2  # from the sound server's news of a device until it can be opened
TICK_S = 0.1  # the longest wait of the supervisor

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Opened:
    """An open device, and the state that ends with it."""

    info: DeviceInfo
    stream: InputStream
    capture: Capture
    writer: RingWriter
    capture_clock: CaptureClock
    holes: Holes
    downmix: Downmix
    opened_s: float  # monotonic
    checked_s: float  # monotonic moment of the newest check that it delivers
    arrived_s: float | None = None  # of the newest block written
    rate: RateMeter = field(default_factory=RateMeter)


class Microphone:
    """Implements `Source` for an input device: an index, a name or a part of one; None is the system's default.

    The device is opened at its native rate, with two channels where it has them (or as many as `channel` needs,
    counted from 0), mixed to mono or reduced to `channel`, resampled to 24 kHz. A missing or lost device is looked up
    again every second, or every 0.5 s to 5 s and as soon as the sound server says that one came; for ever. A sound
    server moves recordings to another device where theirs goes or the default changes: who named one gets that or none.

    Exact zeros are `no signal`. A sound server may have moved the recording to another source, so the device is then
    looked up and reopened, every 5 s to 60 s and when the sound server says that one came. A microphone that is merely
    muted, or whose noise suppression outputs zeros, loses nothing by that: silence follows silence, and a gap is
    announced only where the reopened device delivers sound at once.
    """

    realtime = True

    def __init__(
        self,
        name: str,
        device: str | int | None,
        ring: RingBuffer,
        channel: int | None = None,
        block_ms: float = 20.0,
        *,
        portaudio: PortAudio | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.name = name
        self.ring = ring
        self._wanted = device
        self._channel = channel
        self._block_s = block_ms / 1000
        self._portaudio = portaudio or shared()
        self._clock = clock
        self._wall = WallClock(clock)
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._muting = threading.Event()
        self._device_changed = threading.Event()  # another device was chosen
        self._wake = threading.Event()  # one of the three events above was set or cleared
        self._opened: _Opened | None = None
        self._info: DeviceInfo | None = None  # of the device opened last
        self._state: tuple[SourceState, str] = ("starting", "")
        self._overflow_events = 0
        self._labels: dict[
            str | int | None, str
        ] = {}  # index → the label found for it, which does not change when devices do
        self._retry = BackOff(0.5, 5.0)
        self._looked_s = 0.0  # monotonic moment of the last look for the device
        self._recheck = BackOff(5.0, 60.0)
        self._server = SoundServerEvents() if self._portaudio.sound_server else None
        self._device_came = threading.Event()  # says the sound server
        self._moved = threading.Event()  # likewise: another device may be heard by now
        self._last_sound_s = 0.0  # monotonic moment of the last block that was not all zeros
        self._gap_pending = (
            False  # reopened because of silence: the next block with sound shows whether audio was missed
        )

    def start(self) -> None:
        """Open the device in a thread of its own.

        Raises:
            PortAudioMissingError: the library is not installed.
        """
        self._portaudio.require()
        self._thread = threading.Thread(target=self._run, name=f"microphone {self.name}", daemon=True)
        self._thread.start()

    def status(self) -> SourceStatus:
        """Return the state now."""
        opened, info, (state, detail) = self._opened, self._info, self._state
        return SourceStatus(
            state=state, detail=detail, device=info.title if info else str(self._wanted or "default microphone"),
            native_rate_hz=info.rate_hz if info else 0.0,
            effective_rate_hz=opened.rate.rate_hz() if opened else None, overflow_events=self._overflow_events,
        )  # fmt: skip

    def mute(self, muted: bool) -> None:
        """Close the device, or reopen it, within a tenth of a second."""
        if muted:
            self._muting.set()
        else:
            self._muting.clear()
        self._wake.set()

    def choose(self, device: str | int | None) -> None:
        """Switch to another device."""
        self._wanted = device
        self._device_changed.set()
        self._wake.set()

    def stop(self) -> None:
        """Close the device and end the ring."""
        self._stopping.set()
        self._wake.set()
        if self._thread is None:
            self._end()
        else:
            self._thread.join(timeout=3.0)

    def step(self, wait_s: float = 0.0) -> None:
        """Run one turn of the supervisor; wait at most `wait_s` for audio or for a change."""
        now = self._clock.monotonic()
        self._heed_server(now)
        if self._device_changed.is_set():
            self._device_changed.clear()
            self._close(("starting", ""))
            self._info = None
            self._retry.reset(now, wait=False)
        if self._muting.is_set():
            if self._state[0] != "muted":
                self._close(("muted", "The microphone is released until it is unmuted."), discard=True)
                self._retry.reset(now, wait=False)
            self._sleep(wait_s)
        elif self._opened is not None:
            self._drain(self._opened, wait_s)
            if self._opened is not None:
                self._check_liveness(self._opened)
        elif now >= self._retry.due_s:
            self._open()
        else:
            self._sleep(min(wait_s, self._retry.due_s - now))

    def _heed_server(self, now: float) -> None:
        """Listen to the sound server while the microphone is away or silent, or is one that was named.

        Look for it again when a device came, and whether it is still the one that is heard when one went.
        """
        if self._server is None:  # the devices are a test's
            return
        away = self._state[0] in ("no device", "lost", "no signal")
        if not away:
            self._device_came.clear()
        if not (away or self._is_named()):
            self._server.stop()
            return
        if not self._server.listen(self._note_arrival, self._note_move) and away:
            self._retry.due_s = min(self._retry.due_s, self._looked_s + PROBE_S)
        if self._device_came.is_set():
            self._device_came.clear()
            self._retry.due_s = min(self._retry.due_s, now + SERVER_S)
            self._recheck.due_s = min(self._recheck.due_s, now + SERVER_S)
        if self._moved.is_set():
            self._moved.clear()
            self._check_place()

    def _is_named(self) -> bool:
        """Return whether a source of the sound server's is open by its name."""
        return self._opened is not None and bool(self._opened.info.source)

    def _check_place(self) -> None:
        """Give a named source up where another one is heard in its place, without what came of that."""
        opened = self._opened
        if opened is None or not opened.info.source:
            return
        heard = pulse.recorded_sources()
        if heard and opened.info.source not in heard:
            self._mark_lost(_gone(opened.info), discard=True)

    def _note_arrival(self) -> None:
        self._device_came.set()
        self._wake.set()

    def _note_move(self) -> None:
        self._moved.set()
        self._wake.set()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self.step(TICK_S)
            self._end()
        except UsageError as error:
            self._end(("failed", str(error)))
        except Exception as error:  # a defect must show on the screen, not end the thread silently
            logger.exception("the microphone's supervisor failed")
            self._end(("failed", f"The microphone stopped on an internal error: {error!r}; restart the program."))

    def _sleep(self, wait_s: float) -> None:
        self._wake.wait(wait_s)
        self._wake.clear()

    def _end(self, state: tuple[SourceState, str] = ("ended", "")) -> None:
        try:
            self._close(state, discard=True)
        finally:
            if self._server is not None:
                self._server.stop()
            self.ring.end()

    def _open(self, silent: _Opened | None = None) -> None:
        """Look the device up and open it; on failure set the state and the time of the next attempt.

        `silent`: as it was until now, delivering zeros. Audio goes on without a gap while it still does.
        """
        if self._state[0] == "muted":
            self._state = ("starting", "")  # unmuted: audio may be captured from here on
        self._looked_s = self._clock.monotonic()
        capture = Capture(self._clock)
        info: DeviceInfo | None = None
        try:
            with self._portaudio.lock:  # an index is valid only until PortAudio is restarted
                self._portaudio.refresh()
                info = self._look_up()
                check_channel(self._channel, info.channels, info.title)
                stream = self._portaudio.open(
                    info.index, rate_hz=info.rate_hz, channels=self._channels(info), callback=capture.callback,
                    blocksize=round(info.rate_hz * self._block_s), source=info.source,
                )  # fmt: skip
        except DeviceError as error:
            self._mark_lost(str(error), "no device" if info is self._info is None else "lost")
            return
        self._wall.follow()
        self._info = info
        self._opened = _Opened(
            info,
            stream,
            capture,
            RingWriter(self.ring, info.rate_hz),
            CaptureClock(info.rate_hz),
            Holes() if silent is None else silent.holes,
            Downmix(self._channel),
            now := self._clock.monotonic(),
            now,
        )
        self._gap_pending = silent is not None
        if silent is None:
            self._last_sound_s = self._opened.opened_s

    def _look_up(self) -> DeviceInfo:
        """Return the wanted device; one that was found by its index is found by its label from then on."""
        wanted = self._wanted
        info = find_device(self._labels.get(wanted, wanted), list_devices(self._portaudio))
        if isinstance(wanted, int) or (wanted is not None and wanted.isdecimal()):
            self._labels[wanted] = info.label
        return info

    def _index_notice(self, info: DeviceInfo) -> str:
        """Return which device an index took: it is another one after devices were plugged in or out."""
        if self._labels.get(self._wanted) is None:
            return ""
        return f"mic:{self._wanted} is {info.title!r} ({info.hostapi}); use the name, since an index may change."

    def _channels(self, info: DeviceInfo) -> int:
        return min(info.channels, 2) if self._channel is None else max(self._channel + 1, min(info.channels, 2))

    def _close(self, state: tuple[SourceState, str], discard: bool = False, gap: bool = True) -> None:
        """Release the device; blocks still queued are written to the ring, or dropped with `discard`."""
        self._state = state
        opened, self._opened = self._opened, None
        if opened is None:
            return
        self._portaudio.close(opened.stream)
        if not discard:
            self._drain(opened, 0.0)
        opened.writer.flush()
        if gap:
            self.ring.mark_gap(muted=state[0] == "muted")

    def _mark_lost(self, why: str, state: Literal["no device", "lost"] = "lost", discard: bool = False) -> None:
        now = self._clock.monotonic()
        if self._state[0] in ("no device", "lost"):
            self._retry.postpone(now)
        else:
            self._retry.reset(now, wait=True)
        self._close((state, why), discard=discard)
        self.ring.mark_gap()  # also where it was closed without one, to be reopened after silence

    def _drain(self, opened: _Opened, wait_s: float) -> None:
        """Write the blocks that have arrived to the ring; wait at most `wait_s` for the first."""
        try:
            block = opened.capture.blocks.get(timeout=wait_s) if wait_s else opened.capture.blocks.get_nowait()
            while not self._follows_a_hole(opened, block):
                self._write_block(opened, block)
                block = opened.capture.blocks.get_nowait()
            if opened is self._opened:
                self._begin_anew()
        except Empty:
            return

    @property
    def _patience_s(self) -> float:
        """How long a device that is open may deliver nothing."""
        return max(LOST_S, LOST_BLOCKS * self._block_s)

    def _follows_a_hole(self, opened: _Opened, block: CapturedBlock) -> bool:
        """Return whether this process was stopped before the block came: otherwise the device had been lost by now."""
        return opened.arrived_s is not None and block.arrived_s - opened.arrived_s > self._patience_s

    def _begin_anew(self) -> None:
        """Reopen the device behind a gap, without what it holds from before: the process or the machine was stopped."""
        self._close(("stalled", STALLED), discard=True)
        self._retry.reset(self._clock.monotonic(), wait=False)

    def _write_block(self, opened: _Opened, block: CapturedBlock) -> None:
        if block.overflow:
            self._overflow_events += 1
            opened.capture_clock.restart()
        mono = opened.downmix.process(block.frames)
        captured_s = opened.capture_clock.captured_s(len(mono), block.arrived_s)
        self.ring.count_missing(opened.holes.add(len(mono) / opened.info.rate_hz, captured_s))
        opened.rate.add(len(mono), block.arrived_s)
        opened.arrived_s = block.arrived_s
        if mono.any():
            if self._gap_pending:
                self.ring.mark_gap()
                self._gap_pending = False
            self._last_sound_s = block.arrived_s
        elif block.arrived_s - opened.opened_s > SILENT_S:
            self._gap_pending = False  # open for long enough to be sure: silence follows silence
        opened.writer.write(mono, self._wall.epoch_s(captured_s))

    def _check_liveness(self, opened: _Opened) -> None:
        """Check that the device still delivers audio, and that it is not all zeros; reopen it otherwise."""
        now = self._clock.monotonic()
        called_s = opened.capture.last_callback_s
        waits_s, patience_s = (
            (now - opened.opened_s, FIRST_CALLBACK_S) if called_s is None else (now - called_s, self._patience_s)
        )
        stopped = now - opened.checked_s > self._patience_s  # the process was: this runs ten times a second
        opened.checked_s = now
        if stopped:
            self._begin_anew()
        elif waits_s > patience_s:
            self._mark_lost(_gone(opened.info))
        elif self._wall.follow() > STEP_S:  # the machine slept
            self._begin_anew()
        elif called_s is None:
            return
        elif now - self._last_sound_s < SILENT_S:
            self._state = ("live", opened.downmix.notice or self._index_notice(opened.info))
            self._recheck.reset(self._last_sound_s + SILENT_S, wait=True)
        elif now < self._recheck.due_s:
            self._state = ("no signal", f"{opened.info.title!r} delivers only zeros: {silence_hint()}.")
        else:
            self._recheck.postpone(now)
            self._close(self._state, gap=False)
            self._open(silent=opened)


def _gone(info: DeviceInfo) -> str:
    return f"{info.title!r} no longer delivers audio; it is reopened as soon as it is back."
