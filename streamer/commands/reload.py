"""Follow settings that changed while a monitor runs (SIGHUP), and say which cannot be followed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from streamer.errors import StreamerError

if TYPE_CHECKING:
    from streamer.commands.configured_streams import ConfiguredStreams
    from streamer.monitor import Monitor
    from streamer.publish.actions import Actions
    from streamer.settings import Settings

FOLLOWED_TABLES = ("voice", "tracker")  # of which every key can change while the monitor runs
FOLLOWED_KEYS = ("model.threshold", "mqtt.remote_unmute")
STREAM_KEYS = ("audio.source", "audio.source_password_file", "audio.channel")  # where no [[stream]] is given


class Reloader:
    """Reads the settings again and puts in force what can change without a restart.

    Args:
        monitor: gets other thresholds.
        streams: come and go.
        actions: are exchanged.
        settings: in force.
        again: reads the settings.
        say: takes a sentence for the user.
    """

    def __init__(
        self,
        monitor: Monitor,
        streams: ConfiguredStreams,
        actions: Actions,
        settings: Settings,
        again: Callable[[], Settings],
        say: Callable[[str], None],
    ) -> None:
        self._monitor = monitor
        self._streams = streams
        self._actions = actions
        self._in_force = settings
        self._again = again
        self._say = say
        self._one_at_a_time = threading.Lock()

    def request(self) -> None:
        """Reload in a thread of its own; return at once."""
        threading.Thread(target=self.reload, name="reload", daemon=True).start()

    def reload(self) -> None:
        """Read the settings, follow them, and say what that was. Nothing changes where anything in them is wrong."""
        with self._one_at_a_time:
            try:
                wanted = self._again()
                in_force = followed(self._in_force, wanted)
                self._monitor.configure(in_force)
            except StreamerError as error:
                self._say(f"The settings stay as they are: {error}")
                return
            changed = changed_keys(self._in_force, in_force)
            changed = [key for key in changed if key not in STREAM_KEYS]
            changed += [f"action {name}" for name in _changed_actions(self._in_force, in_force)]
            self._actions.configure(in_force.action)
            self._in_force = in_force
            streams, problems = self._streams.follow(in_force)
            for problem in problems:
                self._say(problem)
            self._say(_sentence([*changed, *streams], changed_keys(in_force, wanted)))


def followed(now: Settings, wanted: Settings) -> Settings:
    """Return `now` with what of `wanted` can change while a monitor runs."""
    update: dict[str, Any] = {table: getattr(wanted, table) for table in (*FOLLOWED_TABLES, "stream", "action")}
    for key in (*FOLLOWED_KEYS, *STREAM_KEYS):
        table, _, name = key.partition(".")
        changed = {name: getattr(getattr(wanted, table), name)}
        update[table] = update.get(table, getattr(now, table)).model_copy(update=changed)
    return now.model_copy(update=update)


def changed_keys(before: Settings, after: Settings) -> list[str]:
    """Return `window.hop_s` and so on for every key that differs, but for the tables of streams and actions."""
    old, new = _flat(before), _flat(after)
    return [key for key in new if old[key] != new[key]]


def _flat(settings: Settings) -> dict[str, Any]:
    tables = {name: getattr(settings, name) for name in type(settings).model_fields}
    return {
        f"{name}.{key}": getattr(table, key)
        for name, table in tables.items()
        if not isinstance(table, tuple)
        for key in type(table).model_fields
    }


def _changed_actions(before: Settings, after: Settings) -> Iterable[str]:
    old, new = ({table.name: table for table in settings.action} for settings in (before, after))
    return [name for name in sorted(old | new) if old.get(name) != new.get(name)]


def _sentence(changed: list[str], left: list[str]) -> str:
    parts = []
    if changed:
        parts.append(f"in force now: {', '.join(changed)}")
    if left:
        parts.append(f"after a restart: {', '.join(left)}")
    return f"The settings were read again; {'; '.join(parts) or 'nothing in them has changed'}."
