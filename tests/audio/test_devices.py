"""Which device somebody means, and what PortAudio is allowed to do for it."""

from types import SimpleNamespace

import pytest

from streamer.audio import portaudio as portaudio_module
from streamer.audio import pulse
from streamer.audio.devices import DeviceInfo, find_device, list_devices, silence_hint
from streamer.audio.portaudio import DeviceError, PortAudio, PortAudioMissingError, import_sounddevice, install_line
from tests.audio.fake_sounddevice import FakeSounddevice, device

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
        ("Rode", "No input device matches 'Rode'; there are 0 'MacBook Pro Microphone' (Core Audio), 2 'Blue Yeti'"),
        ("7", "No input device has the index 7; there are 0 'MacBook Pro Microphone'"),
        (-1, "No input device has the index -1"),
        ("microphone", "'microphone' matches several input devices: 0 'MacBook Pro Microphone' .*, 5 'Camera Micro"),
    ],
)
def test_a_sentence_lists_the_candidates(wanted: str | int, sentence: str) -> None:
    with pytest.raises(DeviceError, match=sentence.replace("(", r"\(").replace(")", r"\)")):
        find_device(wanted, DEVICES)


def test_no_device_at_all_is_told() -> None:
    with pytest.raises(DeviceError, match="There is no microphone: plug one in"):
        find_device("Yeti", ())


def test_a_whole_name_beats_a_part_of_another() -> None:
    longer = DeviceInfo(9, "Blue Yeti Nano", "Core Audio", 1, 48_000.0, False)
    assert find_device("blue yeti", (longer, YETI)) == YETI


def test_of_one_device_under_several_host_apis_the_first_counts() -> None:
    again = DeviceInfo(8, "Blue Yeti", "Windows WASAPI", 2, 44_100.0, False)
    assert find_device("yeti", (YETI, again)) == YETI
    assert find_device("yeti, windows wasapi", (YETI, again)) == again


def test_twins_that_no_name_tells_apart_are_no_riddle() -> None:
    twin = DeviceInfo(3, "Blue Yeti", "Core Audio", 2, 48_000.0, False)
    assert find_device("yeti", (YETI, twin)) == YETI


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


def test_pactls_listing_is_read() -> None:
    listing = (
        "Source #0\n\tState: IDLE\n\tName: vmic.monitor\n\tDescription: Monitor of Null Output\n"
        "\tProperties:\n\t\tdevice.description = \"Monitor\"\n"
        "\tPorts:\n\t\tanalog: Description: not this one\n\n"
        "Source #4\n\tName: usb\n\tDescription: Küchenmikrofon: links\n"
    )  # fmt: skip
    assert pulse.parse(listing) == (
        pulse.PulseSource("vmic.monitor", "Monitor of Null Output"),
        pulse.PulseSource("usb", "Küchenmikrofon: links"),
    )


def test_without_pactl_there_are_no_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse.shutil, "which", lambda _: None)
    assert pulse.sources() == ()


@pytest.mark.parametrize("before", [None, "another"])
def test_choosing_a_source_leaves_the_environment_as_it_was(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    if before is None:
        monkeypatch.delenv("PULSE_SOURCE", raising=False)
    else:
        monkeypatch.setenv("PULSE_SOURCE", before)
    with pulse.recording_from("usb"):
        assert pulse.os.environ["PULSE_SOURCE"] == "usb"
    assert pulse.os.environ.get("PULSE_SOURCE") == before
    with pulse.recording_from(""):
        assert pulse.os.environ.get("PULSE_SOURCE") == before


def test_portaudio_is_restarted_only_while_no_microphone_is_alive() -> None:
    fake = FakeSounddevice([device("Yeti")])
    shared = PortAudio(lambda: fake)
    fake.plugged.append(device("Camera"))
    assert shared.refresh()
    assert [info["name"] for info in shared.inputs()] == ["Yeti", "Camera"]
    stream = shared.open(0, rate_hz=48_000, channels=1, blocksize=960, callback=lambda *_: None)
    assert not shared.refresh()
    assert fake.restarts == 1
    shared.close(stream)
    assert shared.refresh()


@pytest.mark.parametrize("failure", ["open", "start"])
def test_a_device_that_does_not_open_leaves_nothing_alive(failure: str) -> None:
    fake = FakeSounddevice([device("Yeti")], start_fails=failure == "start")
    shared = PortAudio(lambda: fake)
    with pytest.raises(DeviceError, match=r"cannot be opened \(Error [a-zA-Z: ]+\): it may be unplugged") as caught:
        shared.open(0 if failure == "start" else 1, rate_hz=48_000, channels=1, blocksize=960, callback=print)
    assert "\n" not in str(caught.value)
    assert fake.alive == []
    assert shared.refresh()


@pytest.mark.parametrize(
    ("manager", "cure"),
    [
        ("apt-get", "run `sudo apt-get install libportaudio2`"),
        ("dnf", "run `sudo dnf install portaudio`"),
        ("pacman", "run `sudo pacman -S portaudio`"),
        ("brew", "run `brew install portaudio`"),
        (None, "install your system's portaudio package"),
    ],
)
def test_the_line_that_installs_portaudio_fits_the_system(manager: str | None, cure: str) -> None:
    assert install_line(lambda program: "/usr/bin/it" if program == manager else None) == cure


def test_a_missing_portaudio_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> SimpleNamespace:
        raise OSError("PortAudio library not found")

    monkeypatch.setattr(portaudio_module, "import_module", fail)
    with pytest.raises(PortAudioMissingError, match="Microphones need the PortAudio library, which is missing: "):
        import_sounddevice()


def test_a_portaudio_that_fails_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> SimpleNamespace:
        raise RuntimeError("Error initializing PortAudio")

    monkeypatch.setattr(portaudio_module, "import_module", fail)
    with pytest.raises(DeviceError, match="PortAudio does not start: Error initializing PortAudio"):
        import_sounddevice()


@pytest.mark.parametrize(
    ("platform", "word"), [("darwin", "terminal app"), ("win32", "Let desktop apps"), ("linux", "pavucontrol")]
)
def test_silence_has_a_hint_for_every_platform(platform: str, word: str) -> None:
    assert word in silence_hint(platform)
