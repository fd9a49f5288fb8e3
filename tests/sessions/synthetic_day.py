"""A made-up day of one stream: windows, states, transitions and health, the same for the same seed."""

import random
from collections.abc import Iterator

from streamer.events import EmotionEnded, EmotionStarted, Event, Health, Info, State, Window

LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
NOON = 1_795_348_800.0  # 2026-11-22T12:00:00Z: midnight falls into the day, wherever the test runs
HEALTH_S = 30.0
INFO = Info("0.3.0", "bundled-8", "8da2cc5ce3f6", LABELS, 24_000, 3.0, 0.24, ("desk",))


def day(
    hours: float = 24.0, every_s: float = 4.0, seed: int = 7, stream: str = "desk", begin: float = NOON
) -> Iterator[Event]:
    """Yield what a recorder keeps of it, in order: states where they change, health every half minute."""
    rng = random.Random(seed)
    held: EmotionStarted | None = None
    until = next_change = begin + 20.0
    health_due = begin
    for seq in range(round(hours * 3600 / every_s)):
        time = begin + (seq + 1) * every_s
        position = (seq + 1) * every_s
        if time >= next_change:
            if held is not None:
                yield EmotionEnded(stream, held.id, time, held.label, position - held.start_s, 0.9)
                held = None
            if rng.random() < 0.7:
                label = rng.choice(LABELS)
                held = EmotionStarted(stream, f"k3f9-{seq:06}", time, label, None, 0.7, position)
                yield held
            until = time + rng.uniform(4.0, 90.0)
            next_change = until
            yield State(stream, time, held and held.label, held and 0.7, time)
        yield window(seq, time, position, held.label if held else None, stream)
        if time >= health_due:
            health_due = time + HEALTH_S
            yield Health(stream, time, "live", "Yeti", 47_996.2, 0.18, 43.0, 61.0, 0.04, 0, 0, 0)
    if held is not None:
        yield EmotionEnded(stream, held.id, time, held.label, position - held.start_s, 0.9)


def window(seq: int, time: float, position: float, label: str | None, stream: str = "desk") -> Window:
    rest = 0.3 / (len(LABELS) - 1)
    probs = None if label is None else {name: 0.7 if name == label else round(rest, 4) for name in LABELS}
    return Window(
        stream=stream, seq=seq, time=round(time, 3), start_s=max(0.0, position - 3.0), end_s=position, label=label,
        confidence=probs and 0.7, probs=probs, speech=0.0 if label is None else 0.9, rms_dbfs=-27.4, peak_dbfs=-12.1,
        latency_ms=43.0, dropped_samples=0, warming=False,
    )  # fmt: skip
