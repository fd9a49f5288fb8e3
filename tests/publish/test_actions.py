"""Actions: what a command is told, how many run, what is said of failures, and the end."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamer.config import load
from streamer.config_actions import ActionConfig
from streamer.publish import actions as module
from streamer.publish.actions import MAX_WAITING, Actions, event_environment
from tests.support.event_samples import INFO, transition, window


class Bench:
    """Actions whose commands append to a file."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.out = folder / "out"
        self.out.touch()
        self.opened: list[Actions] = []

    def table(self, name: str = "lamp", code: str = "", **conditions: Any) -> ActionConfig:
        """Append a word of the event, then run `code`."""
        head = f"import json, os, sys, time; event = json.load(sys.stdin); out = open({str(self.out)!r}, 'a')\n"
        head += f"print({name!r}, event['event_type'], event['id'], file=out, flush=True)\n"
        return ActionConfig(name=name, command=(sys.executable, "-c", head + code), **conditions)

    def open(self, *tables: ActionConfig, wait: bool = False) -> Actions:
        actions = Actions(tables, self.said.append, wait=wait)
        self.opened.append(actions)
        actions.start()
        return actions

    @property
    def lines(self) -> list[str]:
        return self.out.read_text().splitlines()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    for actions in bench.opened:
        actions.close()


def until(done: Callable[[], object], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


BOTH = ("emotion_started", "emotion_ended")


def test_starts_and_ends_run_in_order(bench: Bench) -> None:
    actions = bench.open(bench.table(on=BOTH))
    for number in range(4):
        actions.publish(transition(number))
    until(lambda: len(bench.lines) == 4)
    names = ["started", "ended", "started", "ended"]
    assert bench.lines == [f"lamp emotion_{what} k3f9-{i // 2:06}" for i, what in enumerate(names)]
    until(lambda: actions.results() == {"lamp": {"ok": 4}})
    assert bench.said == []


def test_a_command_gets_the_event_in_variables_and_none_of_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_MQTT__PASSWORD", "hunter2")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("LANG", "C")
    variables = event_environment(transition(0), "lamp")
    ours = {name: value for name, value in variables.items() if name.startswith("STREAMER_")}
    assert ours == {
        "STREAMER_EVENT_ACTION": "lamp", "STREAMER_EVENT_STREAM": "desk", "STREAMER_EVENT_TYPE": "emotion_started",
        "STREAMER_EVENT_ID": "k3f9-000000", "STREAMER_EVENT_TIME": "2026-11-22T16:30:05.120Z",
        "STREAMER_EVENT_LABEL": "angry", "STREAMER_EVENT_PREVIOUS": "neutral", "STREAMER_EVENT_CONFIDENCE": "0.81",
        "STREAMER_EVENT_START_S": "0.0",
    }  # fmt: skip
    assert variables["LANG"] == "C"
    assert "NOTIFY_SOCKET" not in variables
    assert event_environment(replace(transition(0), previous=None), "lamp")["STREAMER_EVENT_PREVIOUS"] == ""
    for name, value in ours.items():
        if name.startswith("STREAMER_EVENT_"):
            monkeypatch.setenv(name, value)
    load()  # a command may be this program: the variables are no settings


def test_publishing_never_waits_and_what_is_too_much_is_counted_and_said_once(bench: Bench) -> None:
    actions = bench.open(bench.table(code="time.sleep(30)"))
    actions.publish(transition(0))
    until(lambda: bench.lines)
    began = time.monotonic()
    for number in range(1, 101):
        actions.publish(transition(2 * number))
    assert time.monotonic() - began < 2
    assert actions.results() == {"lamp": {"shed": 100 - MAX_WAITING}}
    stats = actions.stats()
    assert (stats.sent, stats.queued, stats.shed) == (0, 1 + MAX_WAITING, 100 - MAX_WAITING)
    assert bench.said == ["The action lamp: it is left out, because 8 runs wait for the one before."]


def test_a_slow_action_does_not_hold_up_another(bench: Bench) -> None:
    actions = bench.open(bench.table("slow", "time.sleep(30)"), bench.table("quick"))
    for number in (0, 2):
        actions.publish(transition(number))
    until(lambda: actions.results()["quick"] == {"ok": 2})


def test_a_failure_is_said_with_its_last_words_and_again_after_a_while(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions = bench.open(
        bench.table(code="sys.exit('no lamp there')"), bench.table("hung", "time.sleep(9)", timeout_s=0.4)
    )
    for number in (0, 2, 4):
        actions.publish(transition(number))
    until(lambda: actions.results() == {"lamp": {"failed": 3}, "hung": {"timeout": 3}})
    assert sorted(bench.said) == [
        "The action hung: it took longer than 0.4 s and was ended.",
        "The action lamp: exit code 1 (its last words: no lamp there).",
    ]
    monkeypatch.setattr(module, "AGAIN_S", 0.0)
    actions.publish(transition(6))
    until(lambda: len(bench.said) == 4)


def test_what_cannot_work_is_said_at_the_start_and_hearing_goes_on(bench: Bench) -> None:
    gone = ActionConfig(name="gone", command=("no-such-lamp",))
    odd = bench.table("odd", labels=["angy", "happy"], streams=["dsk"])
    actions = bench.open(gone, odd)
    for event in (INFO, INFO, window(), transition(0)):
        actions.publish(event)
    until(lambda: actions.results()["gone"])
    assert bench.said == [
        "The action gone: there is no program 'no-such-lamp' on the PATH; correct its command.",
        "The action odd: there is no label 'angy'; there are neutral, happy.",
        "The action odd: there is no stream 'dsk'; there are desk.",
        "The action gone: no-such-lamp cannot be started (No such file or directory).",
    ]


def test_with_wait_nothing_is_left_out(bench: Bench) -> None:
    actions = bench.open(bench.table(on=BOTH), wait=True)
    for number in range(MAX_WAITING + 4):
        actions.publish(transition(number))
    actions.close()
    assert len(bench.lines) == MAX_WAITING + 4
    assert actions.results() == {"lamp": {"ok": MAX_WAITING + 4}}


def test_closing_lets_a_last_run_finish(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_S", 30.0)  # on a busy machine Python alone takes a second to start
    actions = bench.open(bench.table(on=BOTH, code="time.sleep(0.2)"))
    for number in range(2):
        actions.publish(transition(number))
    actions.close()
    assert actions.results() == {"lamp": {"ok": 2}}


def test_closing_ends_what_hangs_and_says_what_was_left_out(bench: Bench) -> None:
    actions = bench.open(bench.table(code="time.sleep(30)"))
    for number in (0, 2, 4):
        actions.publish(transition(number))
    until(lambda: bench.lines)
    began = time.monotonic()
    actions.close()
    actions.close()
    assert time.monotonic() - began < 10
    assert actions.results() == {"lamp": {"stopped": 1, "shed": 2}}
    assert bench.said == [
        "The action lamp: it was ended, because the program ends.",
        "The action lamp: it was left out 2 times, because the program ends.",
    ]


def test_other_actions_may_be_had_while_it_runs(bench: Bench) -> None:
    stays, goes, comes = bench.table("stays", cooldown_s=3600), bench.table("goes"), bench.table("comes")
    actions = bench.open(stays, goes)
    actions.publish(transition(0))
    until(lambda: len(bench.lines) == 2)
    actions.configure([comes, stays])
    actions.publish(transition(2))
    until(lambda: actions.results().get("comes") == {"ok": 1})
    assert actions.results() == {"comes": {"ok": 1}, "stays": {"ok": 1}}  # its cool-down holds
    assert sorted(line.split()[0] for line in bench.lines) == ["comes", "goes", "stays"]


def test_a_settings_file_names_actions(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text('[[action]]\nname = "lamp"\ncommand = ["lamp", "red"]\nquiet_hours = ["22:00-7:00"]\n')
    (table,) = load(path).action
    assert (table.command, table.on) == (("lamp", "red"), ("emotion_started",))
    assert json.loads(table.model_dump_json())["quiet_hours"] == ["22:00-7:00"]
