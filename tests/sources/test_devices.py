"""Listing input devices, and finding one by index or name."""

import pytest

from streamer.sources import pulse
from streamer.sources.devices import DeviceInfo, find_device, list_devices, silence_hint
from streamer.sources.portaudio import DeviceError, PortAudio
from tests.sources.fake_sounddevice import FakeSounddevice, device

YETI = DeviceInfo(2, "Blue Yeti", "Core Audio", 2, 48_000.0, False)
BUILT_IN = DeviceInfo(0, "MacBook Pro Microphone", "Core Audio", 1, 48_000.0, True)
CAMERA = DeviceInfo(5, "Camera Microphone", "Core Audio", 1, 16_000.0, False)
DEVICES = (BUILT_IN, YETI, CAMERA)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (None, BUILT_IN),
        (5, CAMERA),
        ("5", CAMERA),
        ("yeti", YETI),
        ("BLUE YETI", YETI),
        ("Blue Yeti, Core Audio", YETI),
        ("book pro", BUILT_IN),
    ],
)
def test_a_device_is_found_by_index_or_part_of_its_name(wanted: str | int | None, found: DeviceInfo) -> None:
    assert find_device(wanted, DEVICES) == found


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (
            "Rode",
            "No input device matches 'Rode'; plug it in, or take one of 0 'MacBook Pro Microphone'",
        ),
        ("7", "No input device has the index 7; there are 0 'MacBook Pro Microphone'"),
        (-1, "No input device has the index -1"),
        ("microphone", "'microphone' matches several input devices: 0 'MacBook Pro Microphone' .*, 5 'Camera Micro"),
    ],
)
def test_the_message_lists_the_candidates(wanted: str | int, sentence: str) -> None:
    with pytest.raises(DeviceError, match=sentence.replace("(", r"\(").replace(")", r"\)")):
        find_device(wanted, DEVICES)


def test_a_machine_without_devices_is_refused_with_a_cure() -> None:
    with pytest.raises(DeviceError, match="There is no microphone: plug one in"):
        find_device("Yeti", ())


def test_a_whole_name_beats_a_part_of_another() -> None:
    longer = DeviceInfo(9, "Blue Yeti Nano", "Core Audio", 1, 48_000.0, False)
    assert find_device("blue yeti", (longer, YETI)) == YETI


def test_of_one_device_under_several_host_apis_the_first_counts() -> None:
    again = DeviceInfo(8, "Blue Yeti", "Windows WASAPI", 2, 44_100.0, False)
    assert find_device("yeti", (YETI, again)) == YETI
    assert find_device("yeti, windows wasapi", (YETI, again)) == again


def test_the_first_of_two_devices_with_one_name_is_found() -> None:
    twin = DeviceInfo(3, "Blue Yeti", "Core Audio", 2, 48_000.0, False)
    assert find_device("yeti", (YETI, twin)) == YETI


def test_devices_with_one_name_are_told_apart_by_a_number() -> None:
    fake = FakeSounddevice([device("Yeti"), device("Yeti"), device("Yeti", hostapi=1)])
    devices = list_devices(PortAudio(lambda: fake))
    assert [d.label for d in devices] == ["Yeti, Core Audio", "Yeti #2, Core Audio", "Yeti, JACK"]
    for wanted, index in (("yeti", 0), ("yet", 0), ("yeti #2", 1), ("Yeti #2, Core Audio", 1), ("yeti, jack", 2)):
        assert find_device(wanted, devices).index == index
    with pytest.raises(DeviceError, match="1 'Yeti #2' "):
        find_device("Yeti #3", devices)


def test_the_first_device_stands_in_for_a_missing_default() -> None:
    assert find_device(None, (YETI, CAMERA)) == YETI


def test_only_inputs_are_listed() -> None:
    speaker = device("Speaker") | {"max_input_channels": 0}
    fake = FakeSounddevice([speaker, device("Yeti", 44_100.0, 2), device("Line", hostapi=1)])
    assert list_devices(PortAudio(lambda: fake)) == (
        DeviceInfo(1, "Yeti", "Core Audio", 2, 44_100.0, True),
        DeviceInfo(2, "Line", "JACK", 1, 48_000.0, False),
    )


def test_a_machine_without_devices_lists_none() -> None:
    assert list_devices(PortAudio(lambda: FakeSounddevice([]))) == ()


def test_the_sound_servers_sources_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "sources", lambda: (pulse.PulseSource("alsa_input.usb-Yeti", "Blue Yeti Stereo"),))
    listed = list_devices(PortAudio(lambda: FakeSounddevice([device("pulse", 44_100.0, 32), device("default")])))
    assert [d.label for d in listed] == ["pulse, Core Audio", "default, Core Audio", "Blue Yeti Stereo, PulseAudio"]
    for wanted in ("yeti", "alsa_input.usb-Yeti"):
        found = find_device(wanted, listed)
        assert (found.index, found.source) == (0, "alsa_input.usb-Yeti")
    assert find_device("0", listed).source == ""


@pytest.mark.parametrize(
    ("platform", "word"), [("darwin", "terminal app"), ("win32", "Let desktop apps"), ("linux", "pavucontrol")]
)
def test_silence_has_a_hint_for_every_platform(platform: str, word: str) -> None:
    assert word in silence_hint(platform)
