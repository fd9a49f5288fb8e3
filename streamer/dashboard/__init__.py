"""The terminal dashboard, built with Textual.

It draws the snapshots of a feed (`streamer.feed`) and passes key presses back to it. It may import `feed`, `events` and
the constants, names and errors below them, but no model, no audio and no worker; an import-linter contract holds this.

Data flows one way: `app` pulls one immutable `Snapshot` a tick, `view` adds what the user selected, `screen` hands the
result to `widgets/`, and each widget turns it into lines of styled text with pure functions of numbers and widths
(`drawing`). Nothing here blocks the feed. The label colours are in `themes`, the layout in `dashboard.tcss`.

`StreamerApp` is imported on first use, because it brings Textual with it.
"""

from typing import Any

__all__ = ["StreamerApp", "native_stderr_to"]  # loaded by __getattr__


def __getattr__(name: str) -> Any:
    if name == "StreamerApp":
        from streamer.dashboard.app import StreamerApp

        return StreamerApp
    if name == "native_stderr_to":
        from streamer.dashboard.terminal import native_stderr_to

        return native_stderr_to
    raise AttributeError(f"module 'streamer.dashboard' has no attribute {name!r}")
