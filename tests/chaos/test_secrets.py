"""A password is found nowhere: not in the list of processes, in output, logs, retained messages, nor in errors."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.real_broker import Mosquitto, program

SECRET = "pa55-never-to-be-seen"


def environment(folder: Path, **more: str) -> dict[str, str]:
    private = {"XDG_CACHE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_STATE_HOME": str(folder)}
    return os.environ | private | more


@pytest.mark.real
@pytest.mark.slow
def test_a_run_with_a_password_shows_it_nowhere(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, passwords={"me": SECRET}).start()
    try:
        command = [sys.executable, "-m", "streamer", "run", "demo", "--headless", "--fast"]
        login = {"STREAMER_MQTT__URL": f"mqtt://me:{SECRET}@127.0.0.1:{broker.port}"}
        run = subprocess.Popen(
            command, env=environment(tmp_path, **login), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        lines = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                lines.append(" ".join(process.cmdline()))
        assert any("streamer run demo" in line for line in lines)
        out, err = run.communicate(timeout=100)
        assert run.returncode == 0, err
        where = ["-h", "127.0.0.1", "-p", str(broker.port), "-u", "me", "-P", SECRET]
        kept = subprocess.run(
            [program("mosquitto_sub"), *where, "-t", "#", "-v", "-W", "1"], capture_output=True, text=True, check=False
        )
        assert "availability" in kept.stdout
        files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "passwords"]
        logs = [path.read_text(errors="replace") for path in files]
        for text in ("\n".join(lines), out, err, kept.stdout, *logs):
            assert SECRET not in text
    finally:
        broker.stop()


@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        ("[mqtt]\npassword = 12345678\n", {}),
        (f'[mqtt]\npassword = ["{SECRET}"]\n', {}),
        (f'[mqtt]\nprefix = "mqtt://me:{SECRET}@host#"\n', {}),
        (f'[mqtt]\nnode = "mqtt://me:{SECRET}@host"\n', {}),
        (f'[mqtt]\nurl = "mqtt//me:{SECRET}@host"\n', {}),
        (f'[audio]\nsource = "rtsp:/me:{SECRET}@camera/yard"\n', {}),
        (f'[model]\ncheckpoint = "mqtt://me:{SECRET}@host"\n', {}),
        (f'[dashboard]\ntheme = "mqtt://me:{SECRET}@host"\n', {}),
        (f'mqtt = "mqtt://me:{SECRET}@host"\n', {}),
        (f"[mqtt]\npassword = {SECRET}\n", {}),
        ("", {"STREAMER_MQTT__PREFIX": f"mqtt://me:{SECRET}@host#"}),
        ("", {"STREAMER_MQTT__WINDOW_EVERY": f"mqtt://me:{SECRET}@host"}),
    ],
)
def test_no_error_about_settings_quotes_it(settings: str, variables: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(settings)
    done = subprocess.run(
        [sys.executable, "-m", "streamer", "config", "--check", str(path)],
        env=environment(tmp_path, **variables), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    shown = done.stdout + done.stderr
    assert shown.strip()
    assert SECRET not in shown
    assert "12345678" not in shown
    assert "Traceback" not in shown
