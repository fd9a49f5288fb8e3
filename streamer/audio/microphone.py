"""A microphone that comes back: a supervisor thread opens it, watches it, and carries its audio into the ring."""

import logging
import threading
from dataclasses import dataclass, field
from queue import Empty

from streamer.audio.clock import STEP_S, SYSTEM, BackOff, CaptureClock, Clock, RateMeter, WallClock
from streamer.audio.devices import DeviceInfo, find_device, list_devices, silence_hint
from streamer.audio.portaudio import Capture, CapturedBlock, DeviceError, InputStream, PortAudio, shared
from streamer.audio.resample import check_channel, to_mono
from streamer.audio.ring import RingBuffer
from streamer.audio.ring_writer import RingWriter
from streamer.audio.source import SourceState, SourceStatus
from streamer.errors import UsageError

LOST_S = 1.0  # no callback for this long, or for `LOST_BLOCKS` blocks: the device is lost
LOST_BLOCKS = 4
FIRST_CALLBACK_S = 3.0  # wireless headsets and sound servers take their time to begin
SILENT_S = 2.0  # exact zeros for this long: a real microphone has noise
TICK_S = 0.1  # the longest that the supervisor waits before it looks around

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Opened:
    """A device while it is open: what ends with it."""

    info: DeviceInfo
    stream: InputStream
    capture: Capture
    writer: RingWriter
    heard: CaptureClock
    opened_s: float  # monotonic
    rate: RateMeter = field(default_factory=RateMeter)


class Microphone:
    """Implements `Source`. `device` is an index, a name or a part of one; None is the system's default.

    The device is opened at its own rate, with two channels where it has them (or as many as `channel` needs, counted
    from 0), mixed to mono or picked by `channel`, resampled to 24 kHz. A device that is not there, or that goes away,
    is looked for again after 0.5 s to 5 s, for ever.

    Exact zeros are `no signal`. A sound server may have moved the recording to another source, so the device is then
    looked up and reopened, every 5 s to 60 s. A microphone that is merely muted, or that suppresses noise down to
    nothing, loses nothing by it: silence follows silence, and a gap is announced only where the reopened device has
    sound at once.
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
        self._moving = threading.Event()  # another device is wanted
        self._wake = threading.Event()  # one of the three has changed
        self._opened: _Opened | None = None
        self._info: DeviceInfo | None = None  # of the device opened last
        self._state: tuple[SourceState, str] = ("starting", "")
        self._overflow_events = 0
        self._labels: dict[str | int | None, str] = {}  # what was chosen by index → its name, which does not move
        self._retry = BackOff(0.5, 5.0)
        self._recheck = BackOff(5.0, 60.0)
        self._sound_s = 0.0  # monotonic moment of the last sound that was not exactly zero
        self._owes_gap = False  # reopened because of silence: whether audio was missed shows when sound comes

    def start(self) -> None:
        """Open the device in a thread of its own.

        Raises:
            PortAudioMissingError: the library is not installed.
        """
        self._portaudio.require()
        self._thread = threading.Thread(target=self._run, name=f"microphone {self.name}", daemon=True)
        self._thread.start()

    def status(self) -> SourceStatus:
        """How the microphone is doing now."""
        opened, info, (state, detail) = self._opened, self._info, self._state
        return SourceStatus(
            state=state, detail=detail, device=info.name if info else str(self._wanted or "default microphone"),
            native_rate_hz=info.rate_hz if info else 0.0,
            effective_rate_hz=opened.rate.rate_hz() if opened else None, overflow_events=self._overflow_events,
        )  # fmt: skip

    def mute(self, muted: bool) -> None:
        """Close the device, or open it again; done within a tenth of a second."""
        if muted:
            self._muting.set()
        else:
            self._muting.clear()
        self._wake.set()

    def choose(self, device: str | int | None) -> None:
        """Go on with another device."""
        self._wanted = device
        self._moving.set()
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
        """One turn of the supervisor; waits for audio, or for something to do, for at most `wait_s`."""
        now = self._clock.monotonic()
        if self._moving.is_set():
            self._moving.clear()
            self._close(("starting", ""))
            self._info = None
            self._retry.reset(now, wait=False)
        if self._muting.is_set():
            if self._state[0] != "muted":
                self._close(("muted", "The microphone is released until it is unmuted."), discard=True)
                self._retry.reset(now, wait=False)
            self._sleep(wait_s)
        elif self._opened is not None:
            self._take_in(self._opened, wait_s)
            self._watch(self._opened)
        elif now >= self._retry.due_s:
            self._open()
        else:
            self._sleep(min(wait_s, self._retry.due_s - now))

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self.step(TICK_S)
            self._end()
        except UsageError as error:
            self._end(("failed", str(error)))
        except Exception as error:  # a defect must show on the screen, not end the thread without a word
            log.exception("the microphone's supervisor failed")
            self._end(("failed", f"The microphone stopped on an internal error: {error!r}; restart the program."))

    def _sleep(self, wait_s: float) -> None:
        self._wake.wait(wait_s)
        self._wake.clear()

    def _end(self, state: tuple[SourceState, str] = ("ended", "")) -> None:
        try:
            self._close(state, discard=True)
        finally:
            self.ring.end()

    def _open(self, after_silence: bool = False) -> None:
        """Look the device up and open it; on failure say why, and when to try again."""
        if self._state[0] == "muted":
            self._state = ("starting", "")  # from now on it may be heard
        capture = Capture(self._clock)
        try:
            with self._portaudio.turn:  # an index holds only until somebody restarts PortAudio
                self._portaudio.refresh()
                info = self._look_up()
                check_channel(self._channel, info.channels, info.name)
                stream = self._portaudio.open(
                    info.index, rate_hz=info.rate_hz, channels=self._channels(info), callback=capture.callback,
                    blocksize=round(info.rate_hz * self._block_s), source=info.source,
                )  # fmt: skip
        except DeviceError as error:
            self._lose(str(error))
            return
        self._wall.follow()
        self._info = info
        self._opened = _Opened(
            info,
            stream,
            capture,
            RingWriter(self.ring, info.rate_hz),
            CaptureClock(info.rate_hz),
            self._clock.monotonic(),
        )
        self._owes_gap = after_silence
        if not after_silence:
            self._sound_s = self._opened.opened_s

    def _look_up(self) -> DeviceInfo:
        """The wanted device; one that was found by its index is known by its name from then on."""
        wanted = self._wanted
        info = find_device(self._labels.get(wanted, wanted), list_devices(self._portaudio))
        if isinstance(wanted, int) or (wanted is not None and wanted.isdecimal()):
            self._labels[wanted] = info.label
        return info

    def _channels(self, info: DeviceInfo) -> int:
        return min(info.channels, 2) if self._channel is None else max(self._channel + 1, min(info.channels, 2))

    def _close(self, state: tuple[SourceState, str], discard: bool = False, gap: bool = True) -> None:
        """Release the device; what it still delivered goes into the ring, or nowhere with `discard`."""
        self._state = state
        opened, self._opened = self._opened, None
        if opened is None:
            return
        self._portaudio.close(opened.stream)
        if not discard:
            self._take_in(opened, 0.0)
        opened.writer.finish()
        if gap:
            self.ring.mark_gap()

    def _lose(self, why: str) -> None:
        now = self._clock.monotonic()
        if self._state[0] == "lost":
            self._retry.postpone(now)
        else:
            self._retry.reset(now, wait=True)
        self._close(("lost", why))
        self.ring.mark_gap()  # also where it was closed without one, to be reopened after silence

    def _take_in(self, opened: _Opened, wait_s: float) -> None:
        """Carry the blocks that have arrived into the ring."""
        try:
            block = opened.capture.blocks.get(timeout=wait_s) if wait_s else opened.capture.blocks.get_nowait()
            while True:
                self._pass_on(opened, block)
                block = opened.capture.blocks.get_nowait()
        except Empty:
            return

    def _pass_on(self, opened: _Opened, block: CapturedBlock) -> None:
        if block.overflow:
            self._overflow_events += 1
            opened.heard.lost()
        mono = to_mono(block.frames, self._channel)
        heard_s = opened.heard.heard_s(len(mono), block.arrived_s)
        opened.rate.add(len(mono), block.arrived_s)
        if mono.any():
            if self._owes_gap:
                self.ring.mark_gap()
                self._owes_gap = False
            self._sound_s = block.arrived_s
        elif block.arrived_s - opened.opened_s > SILENT_S:
            self._owes_gap = False  # long enough open to know: silence follows silence
        opened.writer.write(mono, self._wall.epoch_s(heard_s))

    def _watch(self, opened: _Opened) -> None:
        """Is the device still delivering, and sound at that?"""
        now = self._clock.monotonic()
        called_s = opened.capture.called_s
        if called_s is None:
            overdue = now - opened.opened_s > FIRST_CALLBACK_S
        else:
            overdue = now - called_s > max(LOST_S, LOST_BLOCKS * self._block_s)
        if overdue:
            self._lose(f"{opened.info.name!r} delivers no audio any more; it is reopened as soon as it is back.")
        elif self._wall.follow() > STEP_S:  # the machine slept
            self._close(("starting", ""))
            self._retry.reset(now, wait=False)
        elif called_s is None:
            return
        elif now - self._sound_s < SILENT_S:
            self._state = ("live", "")
            self._recheck.reset(self._sound_s + SILENT_S, wait=True)
        elif now < self._recheck.due_s:
            self._state = ("no signal", f"{opened.info.name!r} gives nothing but zeros: {silence_hint()}.")
        else:
            self._recheck.postpone(now)
            self._close(self._state, gap=False)
            self._open(after_silence=True)
