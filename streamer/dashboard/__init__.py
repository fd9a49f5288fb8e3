"""The terminal dashboard. `StreamerApp` is loaded on first use, because it brings Textual with it."""

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
