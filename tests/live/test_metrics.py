"""The real program's figures, as Prometheus fetches them."""

import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.live.program import LIVELY, Streamer, write_config

pytestmark = [pytest.mark.real, pytest.mark.timeout(150)]


def test_a_running_monitor_serves_figures_that_prometheus_own_linter_accepts(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        missing("promtool", "it is in Debian's package prometheus")
    lamp = '[[action]]\nname = "lamp"\ncommand = ["true"]\n'
    config = ("--config", write_config(tmp_path, LIVELY + lamp))
    with Streamer("run", "demo", "--headless", "--mqtt", "off", "--metrics", "0", *config) as program:
        program.until(lambda: len(program.of("window")) > 12 and len(program.of("health")) > 1)
        (url,) = re.findall(r"http://\S+/metrics", "".join(program.errors))
        before = len(program.of("health"))
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        states = {health["status"] for health in program.of("health")[before - 1 :]}  # then, and until the answer came
        program.end()
    done = subprocess.run([str(promtool), "check", "metrics"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    windows, compute = (
        float(re.findall(rf'^streamer_{name}_total{{stream="demo"}} (\S+)', text, re.M)[0])
        for name in ("windows", "compute_seconds")
    )
    assert windows > 12
    assert re.search(r'^streamer_action_runs_total{action="lamp",result="ok"} ', text, re.M)
    assert 0 < compute < 0.24 * windows
    holds = re.findall(r'^streamer_stream_status{state="(.*)",stream="demo"} 1.0$', text, re.M)
    assert len(holds) == 1
    assert holds[0] in states
