"""The types of the events' fields, with the bounds inside which a message is read.

On the sending side they are plain floats, integers and strings and cost nothing; only `reading.py` checks them. A bound
lies far above what a monitor sends, and low enough that whatever passes can be shown, added and formatted.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, Strict, WithJsonSchema

from streamer.plain_text import printable

FIRST_YEAR, LAST_YEAR = 1970, 2200  # beyond them calendars, time zones and floats of milliseconds fail
MAX_LABELS = 256
MAX_LABEL = 64  # characters
MAX_STREAMS = 1_000  # of one monitor
MAX_COUNT = 2**53  # the largest whole number that every JSON reader keeps exactly

END_S = datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC).timestamp()


def _cleaned(value: Any) -> Any:
    """Make a string printable: strangers send messages, and their text ends on a terminal."""
    return printable(value) if isinstance(value, str) else value


def _moment(value: Any) -> float:
    """Return the seconds since the epoch that an ISO 8601 string states.

    Raises:
        ValueError: it states none, no time zone, or a year that no monitor runs in.
    """
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError("it must be a time in ISO 8601") from None
    if moment.tzinfo is None:  # it would be read as this machine's local time
        raise ValueError("it must say its time zone")
    try:
        seconds = moment.timestamp()
    except OverflowError:  # an offset that leads out of the calendar
        seconds = END_S
    if not 0 <= seconds < END_S:
        raise ValueError(f"it must be from the years {FIRST_YEAR} to {LAST_YEAR}")
    return seconds


_Text = Annotated[str, BeforeValidator(_cleaned), Strict()]
_Finite = Annotated[float, Strict(), Field(allow_inf_nan=False)]

Name = Annotated[_Text, Field(max_length=255)]  # of a stream, a model, a version
Label = Annotated[_Text, Field(max_length=MAX_LABEL)]
Sentence = Annotated[_Text, Field(max_length=4096)]  # what a device or a file calls itself
Moment = Annotated[float, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
Share = Annotated[_Finite, Field(ge=0, le=1)]
Seconds = Annotated[_Finite, Field(ge=0, le=1e10)]  # three centuries
Milliseconds = Annotated[_Finite, Field(ge=0, le=1e12)]
Decibels = Annotated[_Finite, Field(ge=-1000, le=1000)]
Hertz = Annotated[_Finite, Field(ge=0, le=1e9)]
Factor = Annotated[_Finite, Field(ge=0, le=1e9)]
Count = Annotated[int, Strict(), Field(ge=0, le=MAX_COUNT)]
Flag = Annotated[bool, Strict()]
Probabilities = Annotated[Mapping[Label, Share], Field(max_length=MAX_LABELS)]
Labels = Annotated[tuple[Label, ...], Field(max_length=MAX_LABELS)]
Streams = Annotated[tuple[Name, ...], Field(max_length=MAX_STREAMS)]
