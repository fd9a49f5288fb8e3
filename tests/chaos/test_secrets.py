"""A password is found nowhere: in no list of processes, output, file, retained message or error, on no screen."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.real_broker import Mosquitto, program
from tests.support.terminal import Terminal

SECRET = "pa55-never-to-be-seen"


def environment(folder: Path, **more: str) -> dict[str, str]:
    private = {"XDG_CACHE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_STATE_HOME": str(folder)}
    return os.environ | private | more


def command_lines() -> str:
    """What `ps` shows of every process."""
    lines = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            lines.append(" ".join(process.cmdline()))
    return "\n".join(lines)


def written(folder: Path) -> str:
    """Everything in the files of `folder` but those that are there to hold a secret."""
    kept = {"passwords", "secret"}
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in kept]
    return "\n".join(path.read_text(errors="replace") for path in files)


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
        processes = command_lines()
        assert "streamer run demo" in processes
        out, err = run.communicate(timeout=100)
        assert run.returncode == 0, err
        where = ["-h", "127.0.0.1", "-p", str(broker.port), "-u", "me", "-P", SECRET]
        kept = subprocess.run(
            [program("mosquitto_sub"), *where, "-t", "#", "-v", "-W", "1"], capture_output=True, text=True, check=False
        )
        assert "availability" in kept.stdout
        for text in (processes, out, err, kept.stdout, written(tmp_path)):
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


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False], ids=["right", "wrong"])
def test_no_screen_shows_a_password(known: bool, tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, passwords={"me": SECRET if known else "another"}).start()
    login = {"STREAMER_MQTT__URL": f"mqtt://me:{SECRET}@127.0.0.1:{broker.port}"}
    env = environment(tmp_path, **login)
    log = ("--log-file", str(tmp_path / "log"))
    try:
        with (
            Terminal(sys.executable, "-m", "streamer", "run", "demo", *log, columns=120, rows=40, env=env) as monitor,
            Terminal(sys.executable, "-m", "streamer", "watch", columns=120, rows=40, env=env) as watch,
        ):
            monitor.shows("LIVE")
            for terminal in (monitor, watch):
                terminal.shows("127.0.0.1" if known else "refuses the login")
                terminal.press("s")
                terminal.press("?")
            processes = command_lines()
            time.sleep(1.0)
            for terminal in (monitor, watch):
                terminal.process.terminate()
                terminal.wait()
            for text in (processes, monitor.text, watch.text, written(tmp_path)):
                assert SECRET not in text
            assert "streamer run demo" in processes
    finally:
        broker.stop()


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("command", [("doctor", "--json"), ("config",), ("mute", "desk"), ("service",)])
def test_no_command_prints_a_password_that_is_set(command: tuple[str, ...], tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, passwords={"me": "another"}).start()
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o600)
    try:
        for more in (
            {"STREAMER_MQTT__URL": f"mqtt://me:{SECRET}@127.0.0.1:{broker.port}"},
            {
                "STREAMER_MQTT__URL": broker.url,
                "STREAMER_MQTT__USERNAME": "me",
                "STREAMER_MQTT__PASSWORD_FILE": str(tmp_path / "secret"),
            },
        ):
            done = subprocess.run(
                [sys.executable, "-m", "streamer", *command],
                env=environment(tmp_path, **more), capture_output=True, text=True, check=False, timeout=100,
            )  # fmt: skip
            assert done.stdout + done.stderr
            assert SECRET not in done.stdout + done.stderr
            assert "Traceback" not in done.stderr
        assert SECRET not in written(tmp_path)
    finally:
        broker.stop()


@pytest.mark.real
@pytest.mark.slow
def test_the_embedded_brokers_secret_is_in_its_own_file_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streamer", "run", "demo", "--headless"]
    run = subprocess.Popen(
        command, env=environment(tmp_path, XDG_RUNTIME_DIR=str(tmp_path)), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert run.stdout is not None
    first = [run.stdout.readline() for _ in range(5)]
    file = next(tmp_path.rglob("brokers/*.json"))
    announced = json.loads(file.read_text())
    secret, port = announced["secret"], announced["url"].rpartition(":")[2]
    processes = command_lines()
    kept = subprocess.run(
        [program("mosquitto_sub"), "-h", "127.0.0.1", "-p", port, "-t", "streamer/#", "-v", "-W", "2"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "availability" in kept.stdout
    run.terminate()
    out, err = run.communicate(timeout=60)
    assert "streamer.publish.broker_process" in processes
    for text in (processes, "".join(first), out, err, kept.stdout, written(tmp_path)):
        assert secret not in text
    assert not file.exists()
