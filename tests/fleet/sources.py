"""Endless WAV streams over HTTP on loopback, in real time: `/0`, `/1`, … of which the first ones speak.

    python -m tests.fleet.sources PORT SPEAKING

The others are a quiet room. It is a process of its own, so that no test's thread holds it up.
"""

import asyncio
import struct
import sys
import time

import numpy as np

from streamer.decoding.files import read_whole
from streamer.sources import demo

RATE_HZ = 24_000
BLOCK_S = 0.1


def header() -> bytes:
    """The head of a WAV file without an end, 24 kHz mono 16 bit."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    return b"RIFF\xff\xff\xff\xffWAVE" + form + b"data\xff\xff\xff\xff"


def loops() -> tuple[bytes, bytes]:
    """Some speech, and a quiet room, as 16 bit PCM."""
    speech = read_whole(demo.DEMO)
    room = 10 ** (-65 / 20) * np.random.default_rng(7).standard_normal(20 * RATE_HZ)
    return tuple((np.clip(one, -1, 1) * 32767).astype("<i2").tobytes() for one in (speech, room))  # type: ignore[return-value]


async def serve(port: int, speaking: int) -> None:
    speech, room = loops()
    block = 2 * round(RATE_HZ * BLOCK_S)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            number = int(request.split()[1].strip(b"/") or 0)
            audio = speech if number < speaking else room
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: audio/wav\r\n\r\n" + header())
            # Every listener hears what is being said now, as on the radio.
            at = int(time.time() / BLOCK_S + 37 * number) * block % len(audio)
            due = time.monotonic()
            while True:
                piece = audio[at : at + block]
                at = (at + block) % len(audio) if len(piece) == block else block - len(piece)
                writer.write(piece if len(piece) == block else piece + audio[:at])
                await writer.drain()
                due += BLOCK_S
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        except (OSError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
        print("ready", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
