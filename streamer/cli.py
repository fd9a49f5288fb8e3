"""The command line: one thin function a command. Heavy modules are imported inside the command that needs them."""

import contextlib
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from streamer.cli_research import analyze, embed, evaluate, train
from streamer.errors import StreamerError, UsageError


class PcmEncoding(StrEnum):
    """How samples stand in raw PCM."""

    s16le = "s16le"
    f32le = "f32le"


app = typer.Typer(
    name="streamer",
    help="A real-time emotion monitor: it hears a microphone, shows what it hears, and sends it over MQTT.\n\n"
    "Labels are estimates of what a voice sounds like, not of what a person feels. Not for use at work or in education "
    "(EU AI Act, Art. 5(1)(f)).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Config = Annotated[Path | None, typer.Option(help="Settings file; default config.toml if it is there.")]
Mqtt = Annotated[str | None, typer.Option(metavar="URL|embedded|off", help="Where events go.")]
LogFile = Annotated[Path | None, typer.Option(help="Where warnings go while the dashboard is shown.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SOURCES = "auto | mic | mic:NAME-OR-INDEX | a file | - (raw PCM on stdin) | demo"


@app.command()
def run(
    source: Annotated[str | None, typer.Argument(help=SOURCES, show_default=False)] = None,
    config: Config = None,
    headless: Annotated[bool, typer.Option("--headless", help="Print JSON lines instead of the dashboard.")] = False,
    fast: Annotated[bool, typer.Option("--fast", help="Read files and pipes as fast as the model goes.")] = False,
    mqtt: Mqtt = None,
    device: Annotated[str | None, typer.Option(help="Where the model runs: auto | cpu | cuda | mps.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="bundled | measured | a .safetensors file.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads for the model.")] = None,
    channel: Annotated[str | None, typer.Option(help='"mix" or a channel index from 0.')] = None,
    pcm_format: Annotated[PcmEncoding, typer.Option("--format", help="Raw PCM: its encoding.")] = PcmEncoding.s16le,
    rate: Annotated[int, typer.Option(help="Raw PCM: samples a second.")] = 24_000,
    channels: Annotated[int, typer.Option(help="Raw PCM: channels.")] = 1,
    log_file: LogFile = None,
) -> None:
    """Hear a source, show what the model hears, publish it."""
    from streamer.audio.source import PcmFormat
    from streamer.commands.run import run_monitor
    from streamer.config import load

    flags = _tables(
        audio={"source": source, "channel": channel},
        model={"device": device, "checkpoint": checkpoint, "threads": threads},
        mqtt={"url": mqtt},
    )
    run_monitor(
        load(config, flags),
        one_source=source is not None,
        headless=headless,
        fast=fast,
        pcm=PcmFormat(pcm_format.value, rate, channels),
        log_file=log_file,
    )


@app.command()
def watch(
    url: Annotated[
        str | None, typer.Argument(help="mqtt://host:port; default: the broker of a monitor on this machine.")
    ] = None,
    config: Config = None,
    node: Annotated[str | None, typer.Option(help="Show only this node; default all.")] = None,
    log_file: LogFile = None,
) -> None:
    """Show the dashboard of a monitor that runs elsewhere, from its broker."""
    from streamer.commands.watch import run_watch
    from streamer.config import load

    run_watch(load(config, _tables(mqtt={"url": url})), node, log_file)


@app.command()
def calibrate(
    source: Annotated[
        str | None,
        typer.Argument(help="mic | mic:NAME-OR-INDEX | a file; with --forget: a stream's name.", show_default=False),
    ] = None,
    seconds: Annotated[float, typer.Option(min=10.0, max=600.0, help="Of speech; silence does not count.")] = 20.0,
    name: Annotated[str | None, typer.Option(help="The stream's name, as it is called when it runs.")] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Remove what was learnt.")] = False,
    config: Config = None,
    device: Annotated[str | None, typer.Option(help="Where the model runs: auto | cpu | cuda | mps.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="bundled | measured | a .safetensors file.")] = None,
) -> None:
    """Learn your neutral voice, so that what is heard of you is set against it."""
    from streamer.commands.calibrate import run_calibrate, run_forget
    from streamer.config import load

    if forget:
        run_forget(source or name)
        return
    settings = load(config, _tables(model={"device": device, "checkpoint": checkpoint}))
    run_calibrate(settings, source, name, seconds)


@app.command()
def devices() -> None:
    """List the input devices."""
    from streamer.commands.devices import print_devices

    print_devices()


@app.command()
def doctor(config: Config = None) -> None:
    """Check PortAudio, devices, model, GPU and broker, each with its cure."""
    from streamer.commands.doctor import run_doctor

    raise typer.Exit(run_doctor(config))


@app.command()
def info(
    checkpoint: Annotated[str, typer.Argument(help="bundled | measured | a .safetensors file.")] = "bundled",
    batch: Annotated[int, typer.Option(min=1, help="Recordings at once, for the memory they need.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of each of them.")] = 3.0,
    as_json: Json = False,
) -> None:
    """Show a checkpoint's model card, and what its encoder takes, gives and needs."""
    from streamer.commands.info import print_info

    print_info(checkpoint, batch=batch, seconds=seconds, as_json=as_json)


@app.command()
def broker(
    port: Annotated[int, typer.Option(help="Port to listen on; the next free one is taken when it is in use.")] = 1883,
    bind: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    open_to_network: Annotated[
        bool, typer.Option("--open-to-network", help="Allow an address that others on the network can reach.")
    ] = False,
) -> None:
    """Run the embedded MQTT broker by itself until Ctrl-C."""
    from streamer.commands.broker import run_broker

    run_broker(bind, port, open_to_network=open_to_network)


class Precision(StrEnum):
    """What the encoder computes in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"


@app.command()
def bench(
    as_json: Json = False,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    repeats: Annotated[int, typer.Option(help="Rounds: one re-encoding and ten steps of every chunk each.")] = 3,
    streams: Annotated[
        bool, typer.Option("--streams", help="The most streams in real time: p99 of a step below the hop.")
    ] = False,
    hop_s: Annotated[float, typer.Option(help="With --streams: seconds a step.")] = 0.24,
    device: Annotated[str, typer.Option(help="With --streams: auto | cpu | cuda | cuda:N | mps.")] = "auto",
    precision: Annotated[
        Precision, typer.Option(help="With --streams: what the encoder computes in.")
    ] = Precision.FLOAT32,
    latency: Annotated[
        bool, typer.Option("--latency", help="From a virtual microphone to an MQTT subscriber.")
    ] = False,
    clicks: Annotated[int, typer.Option(help="With --latency: how many clicks are played.")] = 100,
    soak: Annotated[
        float | None, typer.Option(metavar="MINUTES", help="Hear a virtual microphone for so long.")
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="With --soak: so many minutes of audio as fast as it goes.")
    ] = False,
    load: Annotated[bool, typer.Option("--load", help="With --soak: beside streams that keep all cores busy.")] = False,
    out: Annotated[Path, typer.Option(help="With --soak: where a row a minute is appended.")] = Path("soak.jsonl"),
    start: Annotated[
        bool, typer.Option("--start", help="How soon help and the first window come, and memory.")
    ] = False,
) -> None:
    """Measure the streaming encoder beside its peers; or capacity, latency, endurance, start."""
    if streams + latency + start + (soak is not None) > 1:
        raise UsageError("--streams, --latency, --soak and --start are measurements of their own: give one of them.")
    if (fast or load) and soak is None:
        raise UsageError("--fast and --load belong to --soak MINUTES: add it.")
    if streams:
        from streamer.commands.bench import run_streams

        run_streams(hop_s=hop_s, device=device, precision=precision.value, threads=threads, as_json=as_json)
        return
    if not (latency or start or soak is not None):
        from streamer.commands.bench import run_bench

        run_bench(threads=threads, repeats=repeats, as_json=as_json)
        return
    from streamer.commands.bench_program import run_latency, run_soak, run_start

    if latency:
        met = run_latency(clicks, as_json=as_json)
    elif soak is not None:
        met = run_soak(soak, out, fast=fast, load=load, as_json=as_json)
    else:
        met = run_start(as_json=as_json)
    raise typer.Exit(0 if met else 1)


for research_command in (train, evaluate, embed, analyze):
    app.command()(research_command)


def _tables(**tables: dict[str, Any]) -> dict[str, Any]:
    """Only what was said on the command line."""
    said = {name: {key: value for key, value in table.items() if value is not None} for name, table in tables.items()}
    return {name: table for name, table in said.items() if table}


def main() -> None:
    """The entry point: errors of ours are one line on stderr and an exit code."""
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
