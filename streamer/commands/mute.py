"""`streamer mute`: stop the capture of a stream, or lift that, in whatever monitor of this user runs it."""

from __future__ import annotations

from typing import Annotated

import typer


def mute(
    stream: Annotated[
        str | None, typer.Argument(help="Name of the stream. Default: list what is muted.", show_default=False)
    ] = None,
    lift: Annotated[bool, typer.Option("--lift", help="Capture the stream again.")] = False,
) -> None:
    """Mute a stream, lift a mute, or list what is muted.

    For monitors without a screen: a running one follows within a second, and one that is started later begins muted.

    \b
    Examples:
      streamer mute desk
      streamer mute --lift desk
    """
    import time

    from streamer.errors import UsageError
    from streamer.names import slugify
    from streamer.sources.muting import Mute, MuteStore

    store = MuteStore()
    names = sorted(store.names())
    if stream is None:
        if lift:
            raise UsageError(f"Name the stream to be captured again; muted are: {', '.join(names) or 'none'}.")
        for name in names:
            print(f"{name}: {store.read(name).sentence(name)}")
        if not names:
            print("No stream is muted.")
        return
    if stream != slugify(stream):
        raise UsageError(f"{stream!r} is no name of a stream; write lower-case letters, digits, - and _.")
    if lift and stream not in names:
        raise UsageError(f"{stream} is not muted; muted are: {', '.join(names) or 'none'}.")
    if lift:
        store.remove(stream)
        print(f"{stream} is captured again.")
    else:
        muted = store.read(stream) if stream in names else Mute("command", time.time())
        store.save(stream, muted)
        print(f"{stream}: {muted.sentence(stream)}")
