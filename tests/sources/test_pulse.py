"""PulseAudio's sources: what `pactl` lists, and recording from one of them."""

import subprocess
from types import SimpleNamespace

import pytest

from streamer.sources import pulse


def test_a_listing_of_pactl_is_parsed() -> None:
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


@pytest.mark.parametrize(
    "listing",
    [
        "",
        "Connection failure: Connection refused\n",
        "Source #0\n\tState: IDLE\n\tName: usb\n",  # cut off before the description
        "Source #0\n\tDescription: nameless\n",
        "Source #0\n\tName:\n\tDescription: an empty name\n",
    ],
)
def test_a_listing_without_a_whole_source_has_none(listing: str) -> None:
    assert pulse.parse(listing) == ()


def test_a_description_belongs_to_the_name_before_it_and_to_no_other() -> None:
    listing = (
        "Name: first\nName: second\nDescription: Second\nDescription: not one\n\nName: third\nDescription: Third\n"
    )
    assert pulse.parse(listing) == (pulse.PulseSource("second", "Second"), pulse.PulseSource("third", "Third"))


@pytest.mark.parametrize(
    "error",
    [
        OSError("not executable"),
        subprocess.TimeoutExpired("pactl", 2.0),
        subprocess.CalledProcessError(1, "pactl"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_pactl_that_fails_lists_no_sources(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(pulse.shutil, "which", lambda _: "/usr/bin/pactl")
    monkeypatch.setattr(pulse.subprocess, "run", fail)
    assert pulse.sources() == ()


def test_pactl_is_run_in_english(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], *, env: dict[str, str], **options: object) -> SimpleNamespace:
        assert (command, env["LC_ALL"]) == (["pactl", "list", "sources"], "C")
        return SimpleNamespace(stdout="Source #4\n\tName: usb\n\tDescription: Yeti\n")

    monkeypatch.setattr(pulse.shutil, "which", lambda _: "/usr/bin/pactl")
    monkeypatch.setattr(pulse.subprocess, "run", run)
    assert pulse.sources() == (pulse.PulseSource("usb", "Yeti"),)


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
    with pytest.raises(KeyError), pulse.recording_from("usb"):
        raise KeyError
    assert pulse.os.environ.get("PULSE_SOURCE") == before
    with pulse.recording_from(""):
        assert pulse.os.environ.get("PULSE_SOURCE") == before


RECORDINGS = """Source Output #1
	Driver: protocol-native.c
	Source: 44
	Properties:
		application.name = "ALSA plug-in [python]"
		application.process.id = "812"
Source Output #2
	Source: 50
	Properties:
		application.process.id = "81"
Source Output #7
	Driver: PipeWire
	Source: 50
"""


@pytest.mark.parametrize(("pid", "indices"), [(812, ["44"]), (81, ["50"]), (8, [])])
def test_the_recordings_of_a_process_are_told_from_those_of_others(pid: int, indices: list[str]) -> None:
    assert pulse.recorded_indices(RECORDINGS, pid) == indices
