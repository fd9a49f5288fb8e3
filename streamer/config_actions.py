"""The [[action]] tables of config.toml: a command that runs when an emotion starts or ends."""

import re
from datetime import time
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from streamer.names import plain_name

MAX_ACTIONS = 16  # each runs at most one command at a time

EventType = Literal["emotion_started", "emotion_ended"]


def _command(value: Any) -> Any:
    """Refuse a shell line: what is in it would be read by a shell, and so would be a label."""
    if isinstance(value, str):
        raise ValueError('write a list of words, ["notify-send", "hello"]; a shell is ["sh", "-c", "…"]')
    if isinstance(value, list | tuple) and not (value and all(isinstance(word, str) and word for word in value[:1])):
        raise ValueError('its first word is the program, as in ["notify-send", "hello"]')
    if isinstance(value, list | tuple) and any("\0" in word for word in value if isinstance(word, str)):
        raise ValueError("no word may hold a zero byte")
    return value


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError(f'write a list, ["{value}"]')
    return value


def parse_hours(text: str) -> tuple[time, time]:
    """Return the begin and the end of the hours `22:00-07:00`.

    Raises:
        ValueError: `text` states none.
    """
    found = re.fullmatch(r"(\d\d?:\d\d)\s*[-–]\s*(\d\d?:\d\d)", text.strip())
    try:
        begin, end = (time.fromisoformat(part.zfill(5)) for part in found.groups()) if found else (None, None)
    except ValueError:  # 25:00
        begin = end = None
    if begin is None or end is None or begin == end:
        raise ValueError('hours are written "22:00-07:00"')
    return begin, end


def _hours(text: str) -> str:
    parse_hours(text)
    return text


Words = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class ActionConfig(BaseModel):
    """One [[action]] table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, AfterValidator(plain_name)]
    command: Annotated[tuple[str, ...], BeforeValidator(_command)]
    on: Annotated[tuple[EventType, ...], BeforeValidator(_listed), Field(min_length=1)] = ("emotion_started",)
    labels: Words = ()  # empty: every one
    streams: Words = ()  # empty: every one
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.0
    min_duration_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    quiet_hours: Annotated[
        tuple[Annotated[str, AfterValidator(_hours)], ...], BeforeValidator(_listed)
    ] = ()  # of local time
    cooldown_s: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    timeout_s: Annotated[float, Field(ge=0.1, le=600)] = 10.0
