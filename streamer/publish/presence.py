"""Whether another monitor uses the same name: monitors greet each other on `{prefix}/{node}/presence`.

Every monitor greets on that topic when it connects, and is heard there again every few seconds. It hears its own
messages, too: so it knows that what it sends is delivered. Nothing there is retained, so that a monitor that died, and
left a retained `online` behind, is in nobody's way.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from streamer.events.fields import Flag, Label, Moment
from streamer.events.writing import iso_time

EVERY_S = 5.0  # between two messages: another monitor is noticed well within 12 s
ANSWER_S = 0.2  # for another monitor to answer a greeting, once the greeting itself came back
SETTLE_S = 0.5  # for a greeting to come back
CLOSING_S = 0.2  # of both together, where the program ends meanwhile
MAX_BYTES = 1_024
_MISSED = 2  # messages in a row that did not come back

Heard = Literal["own", "earlier", "later", "malformed"]


@dataclass(frozen=True, slots=True)
class _Message:
    run: Label
    since: Moment
    hello: Flag


_MESSAGE = TypeAdapter(_Message)


class Presence:
    """One run of a monitor, as others under its name see it.

    Args:
        run: names this run.
        since: when it began, seconds since the epoch; of two monitors, the one that began later gives way.
        monotonic: seconds that never go back.
    """

    def __init__(self, run: str, since: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._run = run
        self._since = since
        self._monotonic = monotonic
        self._sent_s: float | None = None  # moment of the newest message sent
        self._unheard = 0  # messages sent since one came back

    def message(self, hello: bool) -> str:
        """Return the message to send now; a greeting (`hello`) is answered by whoever uses the name."""
        self._sent_s = self._monotonic()
        self._unheard += 1
        return json.dumps(
            {"schema": 1, "type": "presence", "run": self._run, "since": iso_time(self._since), "hello": hello}
        )

    def hear(self, payload: bytes) -> tuple[Heard, bool]:
        """Return whose message that is, and whether it wants an answer."""
        try:
            message = _MESSAGE.validate_json(payload) if len(payload) <= MAX_BYTES else None
        except ValidationError:
            message = None
        if message is None:
            return "malformed", False
        if message.run == self._run:
            self._unheard = 0
            return "own", False
        mine = (round(self._since, 3), self._run)  # to the millisecond, as both are on the wire
        return ("earlier" if (message.since, message.run) < mine else "later"), message.hello

    def connected(self, silent: bool = False) -> None:
        """Begin to count anew what does not come back; `silent`: nothing is sent, since nothing would be delivered."""
        self._unheard = _MISSED + 1 if silent else 0

    @property
    def is_delivered(self) -> bool:
        """Whether what this monitor sends comes back from the broker, as far as known."""
        return self._unheard <= _MISSED
