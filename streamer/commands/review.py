"""`streamer review`: listen to the clips that were kept, correct their labels, delete them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.commands.options import Json
from streamer.errors import StreamerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.sessions.clips import Clip


def review(
    folder: Annotated[
        Path, typer.Argument(help="Folder that was recorded into, or its clips folder.", show_default=False)
    ],
    list_only: Annotated[bool, typer.Option("--list", help="List the clips and end.")] = False,
    as_json: Json = False,
    again: Annotated[bool, typer.Option("--again", help="Ask for those that were reviewed, too.")] = False,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="CLIP=LABEL", help="Label one clip without asking; repeatable. Default: ask."),
    ] = None,
    delete: Annotated[
        list[str] | None, typer.Option(metavar="CLIP|all", help="Delete one clip, or all; repeatable. Default: none.")
    ] = None,
) -> None:
    """Hear the kept clips, and correct their labels.

    Clips are kept while record.clips = true. What you hear goes into clips/labels.csv, which `streamer train` reads.

    \b
    Examples:
      streamer review ~/sessions
      streamer review ~/sessions --list
      streamer review ~/sessions --delete all
    """
    from streamer.sessions import clips

    where = clips.clips_folder(folder.expanduser())
    found = clips.clips_in(where)
    for name in delete or ():
        for clip in _named(found, name):
            clips.delete(where, clip)
            print(f"deleted {clip.name}")
    for text in label or ():
        name, equals, heard = text.partition("=")
        if not equals or not heard.strip():
            raise UsageError(f"--label {text!r} is no CLIP=LABEL; `streamer review {folder} --list` shows the clips.")
        for clip in _named(found, name):
            clips.review(where, clip, heard.strip())
    if delete or label:
        return
    if list_only or as_json:
        _list(found, as_json=as_json)
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("There is no terminal to ask in; use --list, --label CLIP=LABEL and --delete CLIP.")
    _ask(where, [clip for clip in found if again or clip.reviewed is None])


def _named(found: Sequence[Clip], name: str) -> list[Clip]:
    """Return the clip of that name, or all.

    Raises:
        UsageError: there is none.
    """
    named = [clip for clip in found if name in ("all", clip.name, clip.path.name, str(clip.path))]
    if not named and name != "all":
        raise UsageError(f"There is no clip named {name!r}; --list shows them.")
    return named


def _list(found: Sequence[Clip], *, as_json: bool) -> None:
    if as_json:
        lines = [
            {"clip": c.name, "path": str(c.path), "stream": c.about.stream, "label": c.about.label,
             "confidence": c.about.confidence, "seconds": round(c.seconds, 2), "reviewed": c.reviewed}
            for c in found
        ]  # fmt: skip
        print(json.dumps(lines, indent=1))
        return
    for clip in found:
        heard = "" if clip.reviewed is None else f"  heard: {clip.reviewed}"
        print(f"{clip.name}  {clip.seconds:.1f} s  {clip.about.label} {clip.about.confidence:.2f}{heard}")
    megabytes = sum(clip.path.stat().st_size for clip in found) / 1e6
    reviewed = sum(clip.reviewed is not None for clip in found)
    print(f"{len(found):,} clips, {megabytes:,.1f} MB, {reviewed:,} reviewed")


def _ask(folder: Path, left: Sequence[Clip]) -> None:
    """Play each clip and ask what was heard."""
    from streamer.emotion.labels import LABELS
    from streamer.sessions import clips

    choices = {str(number): label for number, label in enumerate(LABELS, 1)} | {"0": clips.NONE}
    menu = "  ".join(f"{key} {label}" for key, label in choices.items())
    print(f"{len(left):,} clips to hear. Enter: the label is right. {menu}\np play again  d delete  s skip  q quit")
    for number, clip in enumerate(left, 1):
        print(f"\n{number} of {len(left)}: {clip.about.label} {clip.about.confidence:.2f}, {clip.name}")
        _play(clip)
        while True:
            answer = typer.prompt("heard", default="", show_default=False).strip().lower()
            if answer == "q":
                return
            if answer == "p":
                _play(clip)
                continue
            if answer == "d":
                clips.delete(folder, clip)
            elif answer in ("", *choices, *choices.values()):
                clips.review(folder, clip, choices.get(answer, answer) or clip.about.label)
            elif answer != "s":
                print("that is none of the keys and labels above")
                continue
            break
    print("all were heard")


def _play(clip: Clip) -> None:
    """Play a clip on the usual output; where there is none, say where the file is."""
    import soundfile

    try:
        import sounddevice

        samples, rate = soundfile.read(clip.path, dtype="float32")
        sounddevice.play(samples, rate)
        sounddevice.wait()
    except Exception as error:  # PortAudio is missing, or no device takes it
        print(f"cannot play here ({type(error).__name__}); listen to {clip.path}")
    except KeyboardInterrupt:
        sounddevice.stop()
        raise
    if not clip.path.exists():
        raise StreamerError(f"{clip.path} was removed meanwhile.")
