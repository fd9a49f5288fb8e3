"""`streamer bench`: measure the streaming encoder, or the whole program.

The measurements are in `bench_encoder` (steps, streams) and `bench_program` (latency, soak, start).
"""

from pathlib import Path
from typing import Annotated

import typer

from streamer.codec.precision import Precision
from streamer.commands.options import Json
from streamer.constants import DEFAULT_HOP_S
from streamer.errors import UsageError


def bench(
    as_json: Json = False,
    threads: Annotated[int, typer.Option(help="Number of CPU threads.")] = 1,
    repeats: Annotated[int, typer.Option(help="Rounds; each re-encodes once and makes ten steps of every chunk.")] = 3,
    streams: Annotated[
        bool, typer.Option("--streams", help="Find the largest number of streams whose p99 step time is below the hop.")
    ] = False,
    hop_s: Annotated[float, typer.Option(help="With --streams: hop in seconds.")] = DEFAULT_HOP_S,
    device: Annotated[str, typer.Option(help="With --streams: auto | cpu | cuda | cuda:N | mps.")] = "auto",
    precision: Annotated[Precision, typer.Option(help="With --streams: number format of the encoder.")] = "float32",
    speech: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="With --streams: the whole inference, with speech in each stream for this share of the time. "
            "Default: the encoder alone.",
        ),
    ] = None,
    latency: Annotated[
        bool, typer.Option("--latency", help="Measure latency from a virtual microphone to an MQTT subscriber.")
    ] = False,
    clicks: Annotated[int, typer.Option(help="With --latency: number of clicks to play.")] = 100,
    soak: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            help="Run on a virtual microphone for this long; check for leaks and losses. Default: off.",
        ),
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="With --soak: that many minutes of audio, as fast as possible.")
    ] = False,
    load: Annotated[bool, typer.Option("--load", help="With --soak: keep all cores busy with other streams.")] = False,
    out: Annotated[Path, typer.Option(help="With --soak: file to append one row per minute to.")] = Path("soak.jsonl"),
    start: Annotated[
        bool, typer.Option("--start", help="Measure the time to the help and to the first window, and memory.")
    ] = False,
) -> None:
    """Measure speed, capacity, latency, endurance or start-up.

    Without an option: step times of the streaming encoder beside other engines.

    \b
    Examples:
      streamer bench
      streamer bench --streams --precision int8
      streamer bench --streams --speech 0.2
      streamer bench --soak 60
    """
    if streams + latency + start + (soak is not None) > 1:
        raise UsageError("--streams, --latency, --soak and --start are mutually exclusive; give one of them.")
    if (fast or load) and soak is None:
        raise UsageError("--fast and --load need --soak MINUTES; add it.")
    if speech is not None and not streams:
        raise UsageError("--speech needs --streams; add it.")
    if streams:
        from streamer.commands.bench_encoder import run_streams

        run_streams(hop_s=hop_s, device=device, precision=precision, threads=threads, speech=speech, as_json=as_json)
        return
    if not (latency or start or soak is not None):
        from streamer.commands.bench_encoder import run_steps

        run_steps(threads=threads, repeats=repeats, as_json=as_json)
        return
    from streamer.commands.bench_program import run_latency, run_soak, run_start

    if latency:
        met = run_latency(clicks, as_json=as_json)
    elif soak is not None:
        met = run_soak(soak, out, fast=fast, load=load, as_json=as_json)
    else:
        met = run_start(as_json=as_json)
    raise typer.Exit(0 if met else 1)
