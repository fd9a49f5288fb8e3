"""`streamer report`: recorded events as one page for the browser and the printer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamer.errors import StreamerError, UsageError


def report(
    files: Annotated[
        list[Path], typer.Argument(help="Files of recorded events, or folders of them.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write.")] = Path("report.html"),
    stream: Annotated[
        list[str] | None, typer.Option("--stream", help="Only this stream; may be given several times. Default: all.")
    ] = None,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "What the voices sounded like",
) -> None:
    """Make one HTML page of recorded events.

    Shares of each emotion and of speech, a timeline by hour and day, what followed on what, longest stretches, gaps and
    losses, model and thresholds. The page needs no network, and prints.

    \b
    Examples:
      streamer report ~/sessions/2026-11-30.jsonl
      streamer report labels/events -o interviews.html
    """
    from streamer.replacing import replacing
    from streamer.sessions.journal import journals
    from streamer.sessions.report_data import read_report
    from streamer.sessions.report_page import page

    data = read_report(journals(files), tuple(stream or ()))
    if not data.parts:
        raise UsageError(f"No stream named {', '.join(stream or ())} is in there.")
    try:
        with replacing(out) as part:
            part.write_text(page(data, title), encoding="utf-8")
    except OSError as error:
        raise StreamerError(f"{out} cannot be written ({error.strerror or error}); name another with -o.") from error
    print(out)
