"""The PortAudio that the microphones share: restarts, failures, and the library missing."""

from types import SimpleNamespace

import pytest

from streamer.sources import portaudio as portaudio_module
from streamer.sources.portaudio import DeviceError, PortAudio, PortAudioMissingError, import_sounddevice, install_line
from tests.sources.fake_sounddevice import FakeSounddevice, device


def test_portaudio_is_restarted_only_while_no_microphone_is_open() -> None:
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
def test_a_device_that_does_not_open_leaves_no_stream_open(failure: str) -> None:
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
def test_the_command_that_installs_portaudio_fits_the_system(manager: str | None, cure: str) -> None:
    assert install_line(lambda program: "/usr/bin/it" if program == manager else None) == cure


def test_a_missing_portaudio_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> SimpleNamespace:
        raise OSError("PortAudio library not found")

    monkeypatch.setattr(portaudio_module, "import_module", fail)
    with pytest.raises(PortAudioMissingError, match="Microphones need the PortAudio library, which is missing: "):
        import_sounddevice()


def test_a_portaudio_that_fails_is_not_reported_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> SimpleNamespace:
        raise RuntimeError("Error initializing PortAudio")

    monkeypatch.setattr(portaudio_module, "import_module", fail)
    with pytest.raises(DeviceError, match="PortAudio does not start: Error initializing PortAudio"):
        import_sounddevice()
