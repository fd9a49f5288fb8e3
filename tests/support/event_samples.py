"""Events to publish in tests."""

from streamer.events import EmotionEnded, EmotionStarted, Event, Health, Info, State, Status, Window

TIME = 1_795_365_005.12  # 2026-11-22T16:30:05.120Z
INFO = Info("0.1.0", "bundled", "ab12", ("neutral", "happy"), 24_000, 3.0, 0.24, ("desk",))


def window(seq: int = 0, stream: str = "desk") -> Window:
    return Window(
        stream=stream, seq=seq, time=TIME + 0.24 * seq, start_s=0.24 * seq, end_s=3.0 + 0.24 * seq, label="happy",
        confidence=0.71, probs={"neutral": 0.29, "happy": 0.71}, speech=0.93, rms_dbfs=-27.4, peak_dbfs=-12.1,
        latency_ms=43.0, dropped_samples=0, warming=False,
    )  # fmt: skip


def state(label: str | None = "happy", at_s: float = 0.0, since_s: float = 0.0, stream: str = "desk") -> State:
    return State(stream, TIME + at_s, label, 0.66, TIME + since_s)


def transition(number: int, stream: str = "desk") -> EmotionStarted | EmotionEnded:
    id_, time = f"k3f9-{number // 2:06}", TIME + number
    if number % 2:
        return EmotionEnded(stream, id_, time, "angry", 1.0, 0.93)
    return EmotionStarted(stream, id_, time, "angry", "neutral", 0.81, float(number))


def number_of(event: Event) -> int:
    """The argument of `transition` that gave `event`."""
    assert isinstance(event, EmotionStarted | EmotionEnded)
    return 2 * int(event.id.split("-")[1]) + isinstance(event, EmotionEnded)


def health(status: Status = "live", at_s: float = 0.0, stream: str = "desk") -> Health:
    return Health(stream, TIME + at_s, status, "Yeti", 47_996.2, 0.18, 43.0, 61.0, 0.04, 0, 0, 0)
