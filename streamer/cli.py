"""The command line: the app, the list of commands, and the way from an error to an exit code.

A command is one file of `streamer.commands`, with its signature, its help and its body. Heavy modules are imported inside
the body, so that `--help` and shell completion wait for none.
"""

import contextlib
import os
import sys
from typing import Annotated, NoReturn

import typer

from streamer import __version__
from streamer.audio.source import Encoding
from streamer.commands.analyze import analyze
from streamer.commands.bench import bench
from streamer.commands.broker import broker
from streamer.commands.devices import devices
from streamer.commands.embed import embed
from streamer.commands.evaluate import evaluate
from streamer.commands.info import info
from streamer.commands.options import SOURCES, ConfigFile, LogFile, ModelCheckpoint, ModelDevice, Mqtt, given_tables
from streamer.commands.train import train
from streamer.errors import StreamerError


def run(
    source: Annotated[str | None, typer.Argument(help=f"{SOURCES}. Default: auto.", show_default=False)] = None,
    config: ConfigFile = None,
    headless: Annotated[bool, typer.Option("--headless", help="Print JSON lines instead of the dashboard.")] = False,
    fast: Annotated[bool, typer.Option("--fast", help="Read files and pipes as fast as the model runs.")] = False,
    mqtt: Mqtt = None,
    device: ModelDevice = None,
    checkpoint: ModelCheckpoint = None,
    threads: Annotated[
        int | None, typer.Option(help="Number of CPU threads for the model. Default: model.threads, 1.")
    ] = None,
    channel: Annotated[
        str | None, typer.Option(help='"mix" or a channel index from 0. Default: audio.channel, mix.')
    ] = None,
    pcm_format: Annotated[Encoding, typer.Option("--format", help="Raw PCM: sample encoding.")] = "s16le",
    rate: Annotated[int, typer.Option(help="Raw PCM: sample rate in Hz.")] = 24_000,
    channels: Annotated[int, typer.Option(help="Raw PCM: number of channels.")] = 1,
    track: Annotated[int, typer.Option(min=0, help="Audio track of a recording, counted from 0.")] = 0,
    start_time: Annotated[
        str | None,
        typer.Option(
            metavar="ISO-8601", help="When the recording begins; events are timed from there. Default: when they occur."
        ),
    ] = None,
    log_file: LogFile = None,
    more: Annotated[
        list[str] | None, typer.Argument(hidden=True, help="Refused, with the shell line that loops. Default: none.")
    ] = None,
) -> None:
    """Classify emotion in live audio.

    Shows a dashboard in the terminal and publishes events over MQTT. The source `auto` is a microphone if there is one,
    else a bundled demo recording.

    \b
    Examples:
      streamer run mic:Yeti
      streamer run talk.wav --headless --fast
      streamer run interview.mp4 --start-time 2026-11-22T16:30:00+01:00
      arecord -t raw -f S16_LE -r 24000 -c 1 | streamer run -
    """
    from streamer.audio.source import PcmFormat
    from streamer.commands.run import RecordingOptions, parse_start_time, refuse_several, run_monitor
    from streamer.config import load

    if source is not None and more:
        refuse_several([source, *more])
    flags = given_tables(
        audio={"source": source, "channel": channel},
        model={"device": device, "checkpoint": checkpoint, "threads": threads},
        mqtt={"url": mqtt},
    )
    run_monitor(
        load(config, flags),
        one_source=source is not None,
        headless=headless,
        fast=fast,
        pcm=PcmFormat(pcm_format, rate, channels),
        recording=RecordingOptions(track, parse_start_time(start_time)),
        log_file=log_file,
    )


def watch(
    url: Annotated[
        str | None,
        typer.Argument(
            help="mqtt://host:port. Default: mqtt.url, else the broker of a monitor on this machine.",
            show_default=False,
        ),
    ] = None,
    config: ConfigFile = None,
    node: Annotated[str | None, typer.Option(help="Show only this node. Default: all.")] = None,
    log_file: LogFile = None,
) -> None:
    """Show the dashboard of a monitor that runs elsewhere.

    Its events come from an MQTT broker.

    \b
    Examples:
      streamer watch
      streamer watch mqtt://studio:1883 --node desk
    """
    from streamer.commands.watch import run_watch
    from streamer.config import load

    run_watch(load(config, given_tables(mqtt={"url": url})), node, log_file)


def calibrate(
    source: Annotated[
        str | None,
        typer.Argument(
            help="mic | mic:NAME-OR-INDEX | a file; with --forget: a stream's name. Default: as `streamer run`.",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=10.0, max=600.0, help="Seconds of speech to collect; silence does not count.")
    ] = 20.0,
    name: Annotated[
        str | None, typer.Option(help="Name of the stream, as `streamer run` calls it. Default: from the source.")
    ] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Remove the voice profile.")] = False,
    config: ConfigFile = None,
    device: ModelDevice = None,
    checkpoint: ModelCheckpoint = None,
) -> None:
    """Record a profile of your neutral voice for later runs.

    Later runs compare that stream's speech with the profile. No audio is stored.

    \b
    Examples:
      streamer calibrate mic:Yeti
      streamer calibrate --forget yeti
    """
    from streamer.commands.calibrate import run_calibrate, run_forget
    from streamer.config import load

    if forget:
        run_forget(source or name)
        return
    settings = load(config, given_tables(model={"device": device, "checkpoint": checkpoint}))
    run_calibrate(settings, source, name, seconds)


def doctor(config: ConfigFile = None) -> None:
    """Check microphone, model, GPU and broker; say how to fix each.

    \b
    Example:
      streamer doctor --config my.toml
    """
    from streamer.commands.doctor import run_doctor

    raise typer.Exit(run_doctor(config))


COMMANDS = (run, watch, calibrate, devices, doctor, info, broker, bench, train, evaluate, embed, analyze)

app = typer.Typer(
    name="streamer",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in COMMANDS:
    app.command()(command)


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
    """Run the command line; print an error of ours as one line on stderr and end with its exit code."""
    code = 0
    try:
        app()
    except StreamerError as error:
        print(f"streamer: {error}", file=sys.stderr)
        code = error.exit_code
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
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # its reader is gone, or it is closed
            stream.flush()
    os._exit(code)
