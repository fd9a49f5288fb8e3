"""Record from a source as the program does, in a process of its own: `record_source.py SOURCE RESULT.npz`.

Prints every new state as a line of JSON, takes `mute`, `unmute` and `stop` on standard input, and writes what it
captured: `samples` [n] float32, `times` [n // 240] (seconds since the epoch of every 240th sample), `gaps` (positions),
`gap_s`.
"""

import json
import sys
import threading
import time

import numpy as np

from streamer.sources.open import open_source, parse_source
from streamer.sources.source import Source


def main(text: str, result: str) -> None:
    source = open_source(parse_source(text))
    source.start()
    commands: list[str] = []
    threading.Thread(target=obey, args=(source, commands), daemon=True).start()
    samples, times, gaps, shown = [np.zeros(0, dtype=np.float32)], [], [], None
    while "stop" not in commands:
        chunk = source.ring.read(240, 24_000, 240)
        if chunk is not None:
            samples.append(chunk.samples)
            gaps += [chunk.start] if chunk.broken else []
            end = chunk.start + len(chunk.samples)
            times += [source.ring.time_of(position) for position in range(chunk.start, end, 240)]
        status = source.status()
        if (status.state, status.detail) != shown:
            shown = (status.state, status.detail)
            print(json.dumps({"state": status.state, "detail": status.detail, "device": status.device}), flush=True)
        time.sleep(0.02)
    gap_s = source.ring.stats().gap_s
    source.stop()
    np.savez(
        result, samples=np.concatenate(samples), times=np.array(times, dtype=float), gaps=np.array(gaps), gap_s=gap_s
    )


def obey(source: Source, commands: list[str]) -> None:
    for line in sys.stdin:
        commands.append(line.strip())
        if commands[-1] in ("mute", "unmute"):
            source.mute(commands[-1] == "mute")


if __name__ == "__main__":
    main(*sys.argv[1:])
