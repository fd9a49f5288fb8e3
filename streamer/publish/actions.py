"""Run the commands of the [[action]] tables when emotions start and end."""

import logging
import os
import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streamer.config_actions import ActionConfig
from streamer.events import Event, Info, Transition, to_dict, to_json
from streamer.publish.action_rule import ActionRule
from streamer.publish.command import Outcome, run_command
from streamer.publish.publisher import PublisherStats

MAX_WAITING = 8  # runs of one action that wait for the one before
AGAIN_S = 60.0  # after which the same failure is said again
CLOSE_S = 1.0
VARIABLE = "STREAMER_EVENT_"
_OURS = ("STREAMER_", "NOTIFY_SOCKET", "WATCHDOG_")  # settings with passwords; the service manager's own

Say = Callable[[str], None]

logger = logging.getLogger(__name__)


class Actions:
    """Implements `Publisher`: runs commands, in a thread an action, one at a time and in order.

    Live, runs that wait are few, and what comes on top is left out, counted and said. With `wait` (for `--fast`)
    nothing is left out: `publish` and `close` wait for the commands, each of which has its time limit.

    Args:
        tables: the actions.
        say: takes a sentence for the user, from any thread.
        wait: lose nothing.
    """

    def __init__(self, tables: Sequence[ActionConfig], say: Say, *, wait: bool = False) -> None:
        self._say = say
        self._wait = wait
        self._started = False
        self._info: Info | None = None
        self._runners: tuple[_Runner, ...] = ()  # replaced as a whole: the worker reads it
        self.configure(tables)

    def start(self) -> None:
        """Let actions run."""
        self._started = True
        for runner in self._runners:
            runner.start()

    def configure(self, tables: Sequence[ActionConfig]) -> None:
        """Have these actions from now on. One that did not change keeps its cool-down and what it waits for."""
        kept = {runner.table: runner for runner in self._runners}
        before = self._runners
        self._runners = tuple(kept.get(table) or _Runner(table, self._say, self._wait) for table in tables)
        for runner in self._runners:
            if runner not in before:
                for doubt in (*missing_program(runner.table), *_unknown(runner.table, self._info)):
                    self._say(doubt)
                if self._started:
                    runner.start()
        for runner in before:
            if runner not in self._runners:
                runner.close()

    def publish(self, event: Event) -> None:
        """Run what is to be run for `event`; return at once, except with `wait`."""
        if isinstance(event, Info):
            first, self._info = self._info is None, event
            if first:
                for doubt in [doubt for runner in self._runners for doubt in _unknown(runner.table, event)]:
                    self._say(doubt)
            return
        for runner in self._runners:
            runner.publish(event)

    def results(self) -> Mapping[str, Mapping[str, int]]:
        """Return how often each action ended how: `ok`, `failed`, `timeout`, `stopped`, `shed`."""
        return {runner.table.name: runner.results() for runner in self._runners}

    def stats(self) -> PublisherStats:
        """Return the counters now; `sent` are the runs that ended, however they did."""
        results = Counter[str]()
        for runner in self._runners:
            results.update(runner.results())
        shed = results.pop("shed", 0)
        queued = sum(runner.waiting() for runner in self._runners)
        return PublisherStats(True, "actions", "", results.total(), queued, shed)

    def close(self) -> None:
        """Give what runs or waits a second, then end it; with `wait`, all the time it may take. Safe to call twice."""
        for runner in self._runners:
            runner.announce_end()
        for runner in self._runners:
            runner.close()


class _Runner:
    """One action: its rule, the runs that wait, its thread."""

    def __init__(self, table: ActionConfig, say: Say, wait: bool) -> None:
        self.table = table
        self._rule = ActionRule(table)
        self._say = say
        self._wait = wait
        self._changed = threading.Condition()
        self._queue: deque[Transition] = deque()
        self._running = False
        self._results = Counter[str]()
        self._closing_at: float | None = None  # monotonic moment from which nothing may run any more
        self._said: tuple[str, float] = ("", 0.0)  # what was said last, and when
        self._thread = threading.Thread(target=self._run, name=f"action {table.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def publish(self, event: Event) -> None:
        due = self._rule.due(event)
        if due is None:
            return
        with self._changed:
            if self._wait:
                self._changed.wait_for(lambda: len(self._queue) < MAX_WAITING or self._closing_at is not None)
            room = len(self._queue) < MAX_WAITING and self._closing_at is None
            if room:
                self._queue.append(due)
                self._changed.notify_all()
            else:
                self._results["shed"] += 1
        if not room:
            self._report(f"it is left out, because {MAX_WAITING} runs wait for the one before")

    def announce_end(self) -> None:
        """Take nothing more. What is queued may still run for `CLOSE_S`."""
        with self._changed:
            if self._closing_at is None:
                self._closing_at = time.monotonic() + CLOSE_S
            self._changed.notify_all()

    def close(self) -> None:
        self.announce_end()
        if self._thread.ident is not None:
            self._thread.join(None if self._wait else CLOSE_S + 3.0)  # a command that ignores SIGTERM has a second more
        with self._changed:
            left = len(self._queue)
            self._queue.clear()
            if left:
                self._results["shed"] += left
        if left:
            self._report(f"it was left out {left} times, because the program ends")

    def results(self) -> Mapping[str, int]:
        with self._changed:
            return dict(self._results)

    def waiting(self) -> int:
        with self._changed:
            return len(self._queue) + self._running

    def _run(self) -> None:
        while (event := self._next()) is not None:
            outcome = self._perform(event)
            with self._changed:
                self._running = False
                self._results[outcome.result] += 1
            if outcome.result == "ok":
                logger.info("The action %s ran for %s %s.", self.table.name, event.event_type, event.label)
            else:
                said = f" (its last words: {outcome.output})" if outcome.output else ""
                self._report(f"{outcome.text}{said}")

    def _next(self) -> Transition | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing_at is not None)
            if not self._queue or self._must_end():
                return None
            self._running = True
            event = self._queue.popleft()
            self._changed.notify_all()
            return event

    def _must_end(self) -> bool:
        return not self._wait and self._closing_at is not None and time.monotonic() > self._closing_at

    def _perform(self, event: Transition) -> Outcome:
        stdin = to_json(event).encode() + b"\n"
        environment = event_environment(event, self.table.name)
        return run_command(self.table.command, stdin, environment, self.table.timeout_s, self._must_end)

    def _report(self, text: str) -> None:
        """Say what happened, unless the same was said just now; the counters have it all."""
        now = time.monotonic()
        if text != self._said[0] or now - self._said[1] >= AGAIN_S:
            self._said = (text, now)
            self._say(f"The action {self.table.name}: {text}.")


def event_environment(event: Transition, action: str) -> dict[str, str]:
    """Return the variables of a command: ours without our settings, and the event's fields.

    `STREAMER_EVENT_TYPE` is `emotion_started`, `STREAMER_EVENT_LABEL` the emotion, and so on; what is null is empty.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    fields: dict[str, Any] = {key: value for key, value in to_dict(event).items() if key not in ("schema", "type")}
    for key, value in (fields | {"action": action}).items():
        variables[VARIABLE + key.removeprefix("event_").upper()] = "" if value is None else str(value)
    return variables


def missing_program(table: ActionConfig) -> list[str]:
    """Return why the command cannot run as things are: one sentence, or none."""
    program = table.command[0]
    if shutil.which(program) is not None:
        return []
    where = "which can be run" if "/" in program else "on the PATH"
    return [f"The action {table.name}: there is no program {program!r} {where}; correct its command."]


def _unknown(table: ActionConfig, info: Info | None) -> list[str]:
    """Return what the action waits for in vain, a sentence each."""
    if info is None:
        return []
    return [
        f"The action {table.name}: there is no {what} {name!r}; there are {', '.join(there)}."
        for what, named, there in (("label", table.labels, info.labels), ("stream", table.streams, info.streams))
        for name in named
        if name not in there
    ]
