"""What the shards of a fleet are made of. Their processes import this module by its name."""

from streamer.fleet.shard import Parts
from streamer.monitor import Monitor
from streamer.settings import Settings

STEPS = 10  # timed for each number of streams that is tried
MOST_STREAMS = 512  # tried


def make_monitor(settings: Settings) -> Monitor:
    """Return a monitor that goes on without streams, not started."""
    return Monitor(settings, meters=False, lasting=True)


def measure_capacity(settings: Settings) -> int:
    """Return how many streams this process encodes in real time, as `bench --streams` measures it."""
    from streamer.bench.capacity import CapacityPlan, find_capacity
    from streamer.codec.device import choose_device

    plan = CapacityPlan(
        hop_frames=settings.window.hop_frames,
        device=choose_device(settings.model.device),
        precision=settings.model.precision,
        threads=settings.model.threads,
        steps=STEPS,
        limit=MOST_STREAMS,
    )
    return find_capacity(plan).largest


PARTS = Parts(make_monitor, measure_capacity)
