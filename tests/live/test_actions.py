"""The real program runs the commands of its settings while it hears."""

import json
import os
import sys
from pathlib import Path

import pytest
import soundfile

from streamer.sources.demo import DEMO
from tests.live.program import LIVELY, Streamer, write_config

pytestmark = pytest.mark.timeout(150)


@pytest.mark.slow
def test_commands_get_every_transition_of_a_recording_and_a_failing_one_disturbs_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = f"import os, sys; open({str(out)!r}, 'a').write(sys.stdin.read()); print(os.environ['STREAMER_EVENT_LABEL'])"
    actions = f"""
[[action]]
name = "note"
command = [{json.dumps(sys.executable)}, "-c", {json.dumps(code)}]
on = ["emotion_started", "emotion_ended"]
[[action]]
name = "broken"
command = ["sh", "-c", "echo no lamp; exit 3"]
[[action]]
name = "never"
command = ["touch", "{tmp_path}/never"]
min_duration_s = 3600
"""
    config, speech = write_config(tmp_path, LIVELY + actions), tmp_path / "speech.wav"
    soundfile.write(speech, *soundfile.read(DEMO, frames=10 * 24_000))
    environment = {**os.environ, "STREAMER_MQTT__PASSWORD": "s3cret"}
    with Streamer(
        "run", str(speech), "--headless", "--fast", "--mqtt", "off", "--config", config, env=environment
    ) as program:
        assert program.process.wait(120) == 0
        program.end()
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(told) >= 4
    assert told == program.of("transition")
    assert "".join(program.errors) == "streamer: The action broken: exit code 3 (its last words: no lamp).\n"
    assert not (tmp_path / "never").exists()
