"""Progress bars of the research commands."""

import time
from collections.abc import Iterable, Sequence
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn, track
from rich.text import Text

T = TypeVar("T")


def show_progress(items: Sequence[T], what: str) -> Iterable[T]:
    """Iterate over `items` under a progress bar; under none where there is nothing to do."""
    return track(items, description=what) if len(items) else items


class _Rate(ProgressColumn):
    """How much faster than real time."""

    def render(self, task: Task) -> Text:
        return Text("" if not task.speed else f"{task.speed:.1f} x real time", style="progress.data.speed")


class AudioProgress:
    """A bar that counts seconds of audio; shown from `begin` on."""

    def __init__(self, console: Console) -> None:
        # The speed of the last half minute: one batch alone says little.
        self._progress = Progress(
            TextColumn("embedding"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} s of audio"),
            _Rate(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=30,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, seconds: float) -> None:
        """Show the bar, for `seconds` of audio; nothing to do shows none."""
        if seconds:
            self._task = self._progress.add_task("", total=seconds)
            self._progress.start()

    def advance(self, seconds: float) -> None:
        """Count `seconds` more of audio as done."""
        self._progress.advance(self._task, seconds)


class RecordingsProgress:
    """A bar that counts recordings, with the audio that was done and how fast; lines for what failed."""

    def __init__(self, console: Console, recordings: int) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("labelling"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} recordings"),
            TextColumn("{task.fields[audio]}"),
            console=console,
        )
        self._task = self._progress.add_task("", total=recordings, audio="")
        self._recordings = recordings
        self._audio_s = 0.0
        self._began: float | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, seconds: float) -> None:
        """Count `seconds` more of audio as done."""
        now = time.monotonic()
        self._began = self._began or now
        self._audio_s += seconds
        speed = self._audio_s / max(1.0, now - self._began)
        self._progress.update(self._task, audio=f"{self._audio_s / 60:,.1f} min of audio, {speed:.1f} x real time")

    def done(self, name: str, failure: str) -> None:
        """Count one recording more as done."""
        if failure:
            self._progress.console.print(f"{name}: {failure}", highlight=False, markup=False, soft_wrap=True)
        self._progress.advance(self._task)
