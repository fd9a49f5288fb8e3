"""What a check of `streamer doctor` returns."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from streamer.errors import StreamerError

Verdict = Literal["ok", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check, with the cure where it did not pass."""

    check: str
    verdict: Verdict
    text: str


def guarded(name: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Yield what `check` finds; its error is a finding like the others, so that it hides none of them."""
    try:
        yield from check()
    except StreamerError as error:
        yield Finding(name, "bad", str(error))
    except Exception as error:  # a defect of ours, or of a library, is what somebody runs the doctor for
        yield Finding(name, "bad", f"failed on an internal error: {type(error).__name__}: {error}; please report it.")
