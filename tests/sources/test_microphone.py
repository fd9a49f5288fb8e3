"""A microphone's supervisor, one turn at a time, against a PortAudio and a clock that the test holds."""

import threading
import time

import numpy as np
import pytest
import soxr

from streamer.audio.resample import to_mono
from streamer.audio.ring import Chunk, RingBuffer
from streamer.constants import SAMPLE_RATE
from streamer.sources.microphone import Microphone
from streamer.sources.portaudio import PortAudio, PortAudioMissingError
from tests.sources.fake_sounddevice import FakeClock, FakeSounddevice, FakeStream, device

BLOCK_S = 0.02


class Room:
    """A microphone in the test's hands."""

    def __init__(self, wanted: str | int | None = None, *devices: dict, **options: object) -> None:
        self.clock = FakeClock()
        self.sd = FakeSounddevice(list(devices) or [device("Yeti")])
        self.ring = RingBuffer(10 * SAMPLE_RATE)
        self.portaudio = PortAudio(lambda: self.sd)
        self.microphone = Microphone(
            "mic", wanted, self.ring, portaudio=self.portaudio, clock=self.clock, **options  # type: ignore[arg-type]
        )  # fmt: skip
        self.rng = np.random.default_rng(11)

    @property
    def stream(self) -> FakeStream:
        (stream,) = self.sd.alive
        return stream

    @property
    def state(self) -> str:
        return self.microphone.status().state

    def capture(self, seconds: float, silent: bool = False, late_s: float = 0.0) -> np.ndarray:
        """The opened device delivers, in blocks; returns what it delivered ([n, channels])."""
        blocks = []
        for _ in range(round(seconds / BLOCK_S)):
            self.clock.now += BLOCK_S
            if not self.sd.alive:
                self.microphone.step()
                continue
            stream = self.stream
            block = self.rng.standard_normal((stream.blocksize, stream.channels)).astype(np.float32) * 0.1
            block *= not silent
            self.clock.now += late_s
            stream.deliver(block)
            self.clock.now -= late_s
            self.microphone.step()
            blocks.append(block)
        return np.concatenate(blocks) if blocks else np.zeros((0, 1), dtype=np.float32)

    def wait(self, seconds: float) -> None:
        """Time passes and nothing is delivered."""
        for _ in range(round(seconds / 0.1)):
            self.clock.now += 0.1
            self.microphone.step()

    def open(self) -> "Room":
        self.microphone.step()
        return self

    def read(self) -> list[Chunk]:
        return list(iter(lambda: self.ring.read(1, self.ring.capacity), None))


@pytest.mark.parametrize("rate_hz", [16_000.0, 44_100.0, 48_000.0])
def test_a_device_is_opened_as_it_is_and_its_audio_arrives_resampled(rate_hz: float) -> None:
    room = Room("yeti", device("Yeti", rate_hz, channels=1)).open()
    stream = room.stream
    assert (stream.samplerate, stream.dtype, stream.blocksize) == (rate_hz, "float32", round(rate_hz * BLOCK_S))
    native = room.capture(1.0)
    room.microphone.stop()
    captured = np.concatenate([chunk.samples for chunk in room.read()])
    whole = soxr.resample(native[:, 0], rate_hz, SAMPLE_RATE)
    np.testing.assert_array_equal(captured, whole)


@pytest.mark.parametrize(
    ("has", "channel", "opened"), [(1, None, 1), (2, None, 2), (32, None, 2), (8, 5, 6), (2, 0, 2)]
)
def test_channels_are_mixed_or_picked(has: int, channel: int | None, opened: int) -> None:
    room = Room(None, device("Interface", 24_000.0, channels=has), channel=channel).open()
    assert room.stream.channels == opened
    native = room.capture(0.5)
    room.microphone.stop()
    captured = np.concatenate([chunk.samples for chunk in room.read()])
    np.testing.assert_allclose(captured, to_mono(native, channel), atol=1e-6)


def test_stereo_in_opposite_phase_is_captured_from_one_channel_and_the_status_tells_it() -> None:
    room = Room(None, device("Interface", 24_000.0, channels=2)).open()
    left = (0.05 * np.random.default_rng(0).standard_normal(24_000)).astype(np.float32)
    for begin in range(0, len(left), room.stream.blocksize):
        block = left[begin : begin + room.stream.blocksize]
        room.clock.now += BLOCK_S
        room.stream.deliver(np.stack([block, -block], axis=1))
        room.microphone.step()
    status = room.microphone.status()
    assert status.state == "live"
    assert "only channel 0 is used" in status.detail
    room.microphone.stop()
    captured = np.concatenate([chunk.samples for chunk in room.read()])
    np.testing.assert_allclose(captured[12_000:], left[12_000:], atol=1e-6)


def test_the_status_has_name_rate_and_state() -> None:
    room = Room("yeti")
    assert room.microphone.status().state == "starting"
    assert room.microphone.status().device == "yeti"
    room.open().capture(2.0)
    status = room.microphone.status()
    assert (status.state, status.detail, status.device, status.native_rate_hz) == ("live", "", "Yeti", 48_000.0)
    assert status.effective_rate_hz == pytest.approx(48_000.0)


def test_a_late_callback_shifts_no_time() -> None:
    room = Room().open()
    began = room.clock.time()
    room.capture(1.0)
    room.capture(0.2, late_s=0.25)
    room.capture(0.2)
    for position in (0, SAMPLE_RATE, SAMPLE_RATE + 3_000, room.ring.stats().written):
        assert room.ring.time_of(position) == pytest.approx(began + position / SAMPLE_RATE, abs=1e-3)


def test_overflows_are_counted_across_a_loss() -> None:
    room = Room().open()
    for overflow in (True, False, True):
        room.stream.deliver(np.ones((960, 1)), overflow)
    room.microphone.step()
    assert room.microphone.status().overflow_events == 2
    room.wait(2.0)
    room.stream.deliver(np.ones((960, 1)), overflow=True)
    room.microphone.step()
    assert room.microphone.status().overflow_events == 3


@pytest.mark.parametrize(("block_ms", "patience_s"), [(20.0, 1.0), (500.0, 2.0)])
def test_a_device_without_callbacks_is_lost(block_ms: float, patience_s: float) -> None:
    room = Room(block_ms=block_ms).open()
    room.stream.deliver(np.ones((960, 1)))
    room.wait(patience_s)
    assert room.state == "live"
    room.wait(0.2)
    assert room.state == "lost"
    assert "'Yeti' no longer delivers audio" in room.microphone.status().detail
    assert room.microphone.status().effective_rate_hz is None
    assert room.sd.alive == []


def test_a_device_may_take_three_seconds_to_begin() -> None:
    room = Room().open()
    room.wait(2.9)
    assert room.state == "starting"
    room.wait(0.3)
    assert room.state == "lost"


def test_a_lost_device_is_reopened_when_it_is_back_and_a_gap_is_announced() -> None:
    room = Room("yeti").open()
    began = room.clock.time()
    room.capture(1.0)
    room.sd.plugged.clear()
    room.wait(30.0)
    assert room.state == "lost"
    assert room.microphone.status().detail == "There is no microphone: plug one in, or name a file to play."
    room.sd.plugged.append(device("Yeti"))
    room.wait(5.0)
    assert room.state == "lost", "it is opened, and has not delivered yet"
    back = room.clock.time()
    room.capture(1.0)
    assert room.state == "live"
    first, second = room.read()
    assert (len(first.samples), first.broken) == (SAMPLE_RATE, False)
    assert (second.start, second.lost, second.broken) == (SAMPLE_RATE, 0, True)
    assert room.ring.stats().gaps == 1
    assert room.ring.time_of(SAMPLE_RATE) == pytest.approx(began + 1.0, abs=1e-3)
    assert room.ring.time_of(SAMPLE_RATE + 2_400) == pytest.approx(back + 0.1, abs=1e-3)


def test_attempts_to_reopen_back_off() -> None:
    room = Room().open()
    room.capture(0.1)
    room.sd.plugged.clear()
    room.wait(60.0)
    assert 12 <= room.sd.restarts <= 15  # once to open, then after 0.5, 1, 2, 4 and every 5 s


def test_a_device_that_is_not_there_yet_is_waited_for() -> None:
    room = Room("usb", device("Built-in")).open()
    assert room.state == "no device"
    assert room.microphone.status().detail == (
        "No input device matches 'usb'; plug it in, or take one of 0 'Built-in' (Core Audio)."
    )
    room.sd.plugged.append(device("USB Microphone"))
    room.wait(1.0)
    room.capture(0.1)
    assert (room.state, room.microphone.status().device) == ("live", "USB Microphone")
    assert room.ring.stats().gaps == 0


def test_a_device_chosen_by_index_is_found_by_its_name_when_indices_move() -> None:
    room = Room("1", device("Built-in"), device("Yeti"), device("Camera")).open()
    room.capture(0.1)
    for plugged in (
        [device("Yeti"), device("Camera")],
        [device("Built-in"), device("Camera"), device("Yeti")],
        [device("Built-in"), device("Camera")],
    ):
        room.sd.plugged[:] = plugged
        room.sd.alive[0].closed = True  # it died with its device
        room.wait(8.0)
        room.capture(0.1)
        if device("Yeti") in plugged:
            assert (room.state, room.microphone.status().device) == ("live", "Yeti")
        else:
            assert room.state == "lost"


def test_two_microphones_share_one_portaudio_without_ending_each_other() -> None:
    room = Room("yeti", device("Yeti"), device("Camera")).open()
    other = Microphone("other", "camera", RingBuffer(1_000), portaudio=room.portaudio, clock=room.clock)
    other.step()
    assert len(room.sd.alive) == 2
    yeti = room.sd.streams[0]
    restarts = room.sd.restarts
    yeti.deliver(np.ones((960, 1)))
    for _ in range(40):
        room.clock.now += 0.1
        room.sd.streams[1].deliver(np.ones((960, 1)))
        other.step()
        room.microphone.step()
    assert room.sd.restarts == restarts, "the other microphone is alive"
    assert other.status().state == "live"


def test_two_seconds_of_zeros_are_no_signal_and_sound_ends_that() -> None:
    room = Room().open()
    room.capture(1.0)
    room.capture(1.9, silent=True)
    assert room.state == "live"
    room.capture(0.2, silent=True)
    assert room.state == "no signal"
    assert "'Yeti' delivers only zeros: " in room.microphone.status().detail
    room.capture(BLOCK_S)
    assert (room.state, room.microphone.status().detail) == ("live", "")
    assert len(room.sd.streams) == 1
    assert room.ring.stats().gaps == 0


def test_a_muted_microphone_is_reopened_again_and_again_without_a_gap() -> None:
    room = Room().open()
    room.capture(1.0)
    room.capture(120.0, silent=True)
    assert room.state == "no signal"
    assert len(room.sd.streams) == 1 + 4  # reopened after 5, 10, 20 and 40 s
    while len(room.sd.streams) < 6:
        room.capture(BLOCK_S, silent=True)
    room.capture(2.5, silent=True)
    room.capture(1.0)
    assert room.state == "live"
    assert room.ring.stats().gaps == 0
    assert not any(chunk.broken and not chunk.lost for chunk in room.read())


def test_every_silence_starts_the_back_off_again() -> None:
    room = Room().open()
    for _ in range(5):
        room.capture(1.0)
        room.capture(6.0, silent=True)
    assert len(room.sd.streams) == 1
    assert room.ring.stats().gaps == 0


def test_sound_from_a_reopened_device_follows_a_gap() -> None:
    room = Room().open()
    room.capture(1.0)
    room.capture(2.5, silent=True)
    moved = room.stream
    while room.stream is moved:
        room.capture(BLOCK_S, silent=True)
    room.capture(1.0)  # it had been moved, and this is the wanted device again
    assert room.state == "live"
    assert room.ring.stats().gaps == 1
    assert [chunk.broken for chunk in room.read()] == [False, True]


def test_a_device_that_is_gone_when_reopened_is_lost_with_a_gap() -> None:
    room = Room().open()
    room.capture(1.0)
    room.sd.plugged.clear()
    for _ in range(round(8.0 / BLOCK_S)):
        if room.sd.alive:
            room.capture(BLOCK_S, silent=True)
    room.wait(1.0)
    assert room.state == "lost"
    room.sd.plugged.append(device("Yeti"))
    room.wait(6.0)
    room.capture(0.5)
    assert room.state == "live"
    assert room.ring.stats().gaps == 1


def test_muting_releases_the_device_and_drops_its_queued_blocks() -> None:
    room = Room().open()
    room.capture(1.0)
    room.stream.deliver(np.ones((960, 1)))
    room.microphone.mute(True)
    room.microphone.step()
    assert (room.state, room.sd.alive) == ("muted", [])
    room.wait(60.0)
    assert room.ring.stats().written == SAMPLE_RATE
    room.microphone.mute(False)
    room.microphone.step()
    assert room.state == "starting", "it is open, so it is no longer muted"
    room.capture(0.5)
    assert room.state == "live"
    assert [chunk.broken for chunk in room.read()] == [False, True]


def test_a_lost_device_can_be_muted_and_unmuted() -> None:
    room = Room().open()
    room.sd.plugged.clear()
    room.wait(10.0)
    room.microphone.mute(True)
    room.wait(0.2)
    assert room.state == "muted"
    room.microphone.mute(False)
    room.wait(0.2)
    assert room.state == "lost"


def test_another_device_can_be_chosen() -> None:
    room = Room("yeti", device("Yeti"), device("Camera", 16_000.0)).open()
    room.capture(0.5)
    room.microphone.choose("camera")
    room.microphone.step()
    room.capture(0.5)
    status = room.microphone.status()
    assert (status.state, status.device, status.native_rate_hz) == ("live", "Camera", 16_000.0)
    assert [chunk.broken for chunk in room.read()] == [False, True]
    assert len(room.sd.alive) == 1


def test_a_chosen_device_that_is_not_there_is_waited_for_under_its_name() -> None:
    room = Room().open()
    room.capture(0.5)
    room.microphone.choose("Camera")
    room.wait(0.2)
    status = room.microphone.status()
    assert (status.state, status.device) == ("no device", "Camera")
    assert "No input device matches 'Camera'" in status.detail


def test_a_machine_that_slept_goes_on_with_the_right_time_after_a_gap() -> None:
    room = Room().open()
    room.capture(1.0)
    room.clock.epoch += 3_600.0
    room.capture(1.0)
    now = room.clock.time()
    assert room.state == "live"
    assert room.ring.stats().gaps == 1
    assert room.ring.time_of(room.ring.stats().written) == pytest.approx(now, abs=0.05)


def test_a_process_that_was_stopped_goes_on_behind_a_gap_without_what_the_device_held() -> None:
    for supervisor_first in (True, False):
        room = Room("yeti", device("Yeti", 24_000.0)).open()
        room.capture(1.0)
        before = room.stream
        room.clock.now += 30.0
        if supervisor_first:
            room.microphone.step()
        else:
            for _ in range(5):  # what the device had kept comes at once
                before.deliver(np.ones((before.blocksize, before.channels)))
            room.microphone.step()
        assert room.state == "stalled"
        assert before.closed
        room.microphone.step()
        room.capture(1.0)
        assert room.state == "live"
        stats = room.ring.stats()
        assert (stats.written, stats.gaps) == (2 * SAMPLE_RATE, 1)
        first, second = room.read()
        assert (len(first.samples), second.start, second.broken) == (SAMPLE_RATE, SAMPLE_RATE, True)
        assert room.ring.time_of(SAMPLE_RATE + 2_400) == pytest.approx(room.clock.time() - 0.9, abs=1e-3)


def test_zeros_and_a_pop_at_the_beginning_disturb_neither_clock_nor_gaps() -> None:
    room = Room("yeti", device("Yeti", 24_000.0)).open()
    began = room.clock.time()
    room.capture(0.3, silent=True)
    pop = np.zeros((room.stream.blocksize, room.stream.channels))
    pop[100] = 1.0
    room.clock.now += BLOCK_S
    room.stream.deliver(pop)
    room.microphone.step()
    assert room.state == "live"
    room.capture(1.0)
    stats = room.ring.stats()
    assert (room.state, room.microphone.status().detail) == ("live", "")
    assert (stats.written, stats.gaps) == (round(1.32 * SAMPLE_RATE), 0)
    assert len(room.sd.streams) == 1
    assert room.ring.time_of(SAMPLE_RATE) == pytest.approx(began + 1.0, abs=1e-3)


def test_a_burst_at_the_beginning_does_not_shift_the_times_that_follow() -> None:
    """Sound servers keep what came while the stream started, and deliver it at once."""
    room = Room("yeti", device("Yeti", 24_000.0)).open()
    opened = room.clock.now
    room.clock.now += 0.3
    for _ in range(round(0.3 / BLOCK_S)):
        room.stream.deliver(np.ones((room.stream.blocksize, room.stream.channels)))
    room.microphone.step()
    room.capture(3.0)
    expected = room.clock.time() - 1.0
    assert opened + 3.3 == pytest.approx(room.clock.now)
    assert room.ring.time_of(room.ring.stats().written - SAMPLE_RATE) == pytest.approx(expected, abs=1e-3)
    assert room.ring.stats().gaps == 0


def test_a_microphone_taken_by_its_index_is_named() -> None:
    room = Room("1", device("Built-in"), device("Yeti")).open()
    room.capture(0.1)
    status = room.microphone.status()
    assert (status.state, status.device) == ("live", "Yeti")
    assert status.detail == "mic:1 is 'Yeti' (Core Audio); use the name, since an index may change."


def test_the_second_of_two_devices_with_one_name_can_be_chosen() -> None:
    room = Room("yeti", device("Yeti", 48_000.0), device("Yeti", 44_100.0)).open()
    room.capture(0.1)
    assert room.stream.device == 0
    room.microphone.choose("Yeti #2")
    room.microphone.step()
    room.microphone.step()
    room.capture(0.1)
    status = room.microphone.status()
    assert (room.stream.device, status.device, status.native_rate_hz) == (1, "Yeti #2", 44_100.0)


def test_a_device_that_is_there_and_refuses_is_not_said_to_be_missing() -> None:
    room = Room("yeti")
    room.sd.start_fails = True
    room.microphone.step()
    assert room.state == "lost"
    assert "cannot be opened" in room.microphone.status().detail


def test_after_a_wall_clock_is_set_back_times_go_on_at_half_speed() -> None:
    room = Room().open()
    room.capture(1.0)
    before = room.clock.time()
    room.clock.epoch -= 3_600.0
    room.capture(1.0)
    assert room.ring.stats().gaps == 0
    assert room.ring.time_of(2 * SAMPLE_RATE) == pytest.approx(before + 0.5, abs=0.06)


def wait_for(condition: object, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_thread_captures_and_stops() -> None:
    sd = FakeSounddevice([device("Yeti")])
    ring = RingBuffer(SAMPLE_RATE)
    microphone = Microphone("mic", None, ring, portaudio=PortAudio(lambda: sd))
    microphone.start()
    wait_for(lambda: sd.alive and sd.alive[0].started)
    sd.alive[0].deliver(np.ones((4_800, 1)))
    wait_for(lambda: ring.stats().written > 0 and microphone.status().state == "live")
    microphone.mute(True)
    wait_for(lambda: not sd.alive)
    microphone.mute(False)
    wait_for(lambda: sd.alive)
    microphone.stop()
    microphone.stop()
    assert sd.alive == []
    assert microphone.status().state == "ended"
    assert ring.stats().ended


def test_stopping_before_the_start_ends_the_ring() -> None:
    room = Room()
    room.microphone.stop()
    assert room.ring.stats().ended
    assert room.state == "ended"


def test_a_channel_that_the_device_lacks_ends_the_source_with_a_sentence() -> None:
    ring = RingBuffer(100)
    sd = FakeSounddevice([device("Yeti", channels=2)])
    microphone = Microphone("mic", None, ring, channel=2, portaudio=PortAudio(lambda: sd))
    microphone.start()
    wait_for(lambda: ring.stats().ended)
    assert microphone.status().state == "failed"
    assert "Channel 2 of Yeti does not exist" in microphone.status().detail
    microphone.stop()


def test_a_defect_shows_in_the_status(caplog: pytest.LogCaptureFixture) -> None:
    sd = FakeSounddevice([device("Yeti") | {"default_samplerate": "nonsense"}])
    ring = RingBuffer(100)
    microphone = Microphone("mic", None, ring, portaudio=PortAudio(lambda: sd))
    microphone.start()
    wait_for(lambda: ring.stats().ended)
    assert microphone.status().state == "failed"
    assert "internal error" in microphone.status().detail
    microphone.stop()


def test_the_status_can_be_read_while_a_device_takes_long_to_open() -> None:
    release, opening = threading.Event(), threading.Event()

    class SlowSounddevice(FakeSounddevice):
        def InputStream(self, **options: object) -> FakeStream:  # noqa: N802
            opening.set()
            release.wait(60.0)
            return super().InputStream(**options)

    microphone = Microphone(
        "mic", None, RingBuffer(100), portaudio=PortAudio(lambda: SlowSounddevice([device("Yeti")]))
    )
    microphone.start()
    assert opening.wait(60.0)
    assert microphone.status().state == "starting"
    release.set()
    microphone.stop()
    assert microphone.status().state == "ended"


def test_without_portaudio_a_microphone_cannot_start() -> None:
    def load() -> object:
        raise PortAudioMissingError("Microphones need the PortAudio library, which is missing: install it.")

    with pytest.raises(PortAudioMissingError):
        Microphone("mic", None, RingBuffer(100), portaudio=PortAudio(load)).start()
