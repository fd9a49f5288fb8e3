"""The command line: the app, the list of commands, and the way from an error to an exit code.

A command is one file of `streamer.commands`, with its signature, its help and its body. Heavy modules are imported
inside the body, so that `--help` and shell completion wait for none.
"""

import contextlib
import logging
import os
import sys
from typing import Annotated, NoReturn

import typer

from streamer import __version__
from streamer.commands.analyze import analyze
from streamer.commands.bench import bench
from streamer.commands.broker import broker
from streamer.commands.cache import cache
from streamer.commands.calibrate import calibrate
from streamer.commands.config import config
from streamer.commands.devices import devices
from streamer.commands.doctor import doctor
from streamer.commands.embed import embed
from streamer.commands.evaluate import evaluate
from streamer.commands.export import export
from streamer.commands.fleet import fleet
from streamer.commands.info import info
from streamer.commands.label import label
from streamer.commands.mute import mute
from streamer.commands.record import record
from streamer.commands.replay import replay
from streamer.commands.report import report
from streamer.commands.review import review
from streamer.commands.run import run
from streamer.commands.serve import serve
from streamer.commands.service import service
from streamer.commands.stderr import PlainFormatter, notice
from streamer.commands.train import train
from streamer.commands.train_streams import train_streams
from streamer.commands.watch import watch
from streamer.errors import StreamerError, of_system

COMMANDS = (
    run, watch, serve, record, calibrate, mute, devices, doctor, config, service, info, broker, bench, train,
    train_streams, evaluate, embed, analyze, replay, label, export, cache, report, review,
)  # fmt: skip

app = typer.Typer(
    name="streamer",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(fleet)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"streamer {__version__}")
        raise typer.Exit


@app.callback()
def streamer(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """A real-time speech emotion monitor: microphone to terminal dashboard and MQTT.

    Labels estimate what a voice sounds like, not what a person feels. Not for use at work or in education
    (EU AI Act, Art. 5(1)(f)).

    \b
    Examples:
      streamer run                  classify the microphone, or a demo without one
      streamer run talk.wav --headless --fast   print a file's events as JSON lines
      streamer doctor               find out why something does not work

    \b
    Exit codes:
      0    success
      1    failure at run time, or a check that did not pass (doctor, bench)
      2    wrong usage or configuration
      130  interrupted by Ctrl-C
    """


def main() -> None:
    """Run the command line; print an error as one line on stderr and end with its exit code."""
    code = 0
    if sys.stdout is None:  # it was closed (`>&-`): let writing fail, and keep its place from the next file opened
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if sys.stderr is None:  # else notices would go to standard output
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if logging.lastResort is not None:  # what prints warnings where no log file was opened
        logging.lastResort.setFormatter(PlainFormatter())
    try:
        app()
    except StreamerError as error:
        notice(str(error))
        code = error.exit_code
    except OSError as error:  # a disk, a permission, a path: nothing that a traceback explains better
        notice(of_system(error))
        code = 1
    except KeyboardInterrupt:
        code = 130
    except SystemExit as end:
        code = int(end.code or 0)
    _end(code)


def _end(code: int) -> NoReturn:
    """End at once, without taking the interpreter apart.

    A model that still loads and a dead address that is still being called cannot be interrupted: the interpreter would
    stop them in the middle of C++ code, which aborts. soxr's binding would report leaks on the restored terminal.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # its reader has what it wanted
        pass
    except (OSError, ValueError) as error:
        if code == 0:  # else the reason was said
            notice(f"Standard output cannot be written: {of_system(error)}")
            code = 1
    with contextlib.suppress(OSError, ValueError, AttributeError):  # its reader is gone, or it is closed
        sys.stderr.flush()
    os._exit(code)
