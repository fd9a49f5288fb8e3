"""The real program reads its settings again on SIGHUP, where it has no controlling terminal."""

import itertools
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.sources.demo import DEMO
from tests.live.program import LIVELY, Streamer, write_config

pytestmark = pytest.mark.timeout(150)
STREAM = '[[stream]]\nname = "{}"\nsource = "HERE/speech.wav"\n'


@pytest.mark.slow
def test_a_service_follows_its_settings_and_hearing_goes_on(tmp_path: Path) -> None:
    speech, rate = soundfile.read(DEMO, dtype="int16")
    soundfile.write(tmp_path / "speech.wav", np.tile(speech, 2), rate)
    stream = STREAM.replace("HERE", str(tmp_path))
    lively, silent = (
        LIVELY + stream.format("desk"),
        LIVELY.replace("threshold = 0.0", "threshold = 1.0").replace("enter = 0.15", "enter = 1.0"),
    )
    config = write_config(tmp_path, lively)
    with Streamer("run", "--headless", "--mqtt", "off", "--config", config) as program:

        def claims_of(windows: int) -> set[str | None]:
            """What the newest windows name."""
            return {window["label"] for window in program.of("window")[-windows:]}

        def reload(text: str, wanted: str) -> None:
            Path(config).write_text(text)
            program.process.send_signal(signal.SIGHUP)
            program.until(lambda: wanted in "".join(program.errors), 30)

        program.until(lambda: len(program.of("window")) > 4)
        reload(lively, "nothing in them has changed")
        reload(
            silent + stream.format("desk") + stream.format("door"),
            "in force now: model.threshold, tracker.enter, stream door",
        )
        program.until(lambda: any(window["stream"] == "door" for window in program.of("window")), 30)
        program.until(lambda: claims_of(6) == {None}, 30)
        reload("[tracker]\ndwell = 3\n", "The settings stay as they are")
        reload(
            LIVELY.replace("window_s = 0.48", "window_s = 0.96") + stream.format("desk"),
            "after a restart: window.window_s",
        )
        program.until(lambda: program.of("info")[-1]["streams"] == ["desk"], 30)
        seen = len(program.of("window"))
        program.until(lambda: len(program.of("window")) > seen + 4, 30)
        assert program.end() == 0
    sequence = [window["seq"] for window in program.of("window") if window["stream"] == "desk"]
    skipped = program.of("health")[-1]["skipped_windows"]
    assert sequence == list(range(len(sequence))), f"the stream began anew; {skipped} windows were skipped"
    ends = [window["end_s"] for window in program.of("window") if window["stream"] == "desk"]
    assert all(after > before for before, after in itertools.pairwise(ends))
