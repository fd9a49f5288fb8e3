"""The split of a latency into its stages, with invented times."""

import pytest

from streamer.bench.figures import all_met
from streamer.bench.latency import BEFORE, STAGES, Conditions, LatencyReport, report
from streamer.bench.stopwatch import Emitted, Write
from streamer.errors import StreamerError

CONDITIONS = Conditions("Mosquitto", "made up", "cpu", 240.0, 20.0, None)
BLOCK = 480  # samples of a callback
HOP_SAMPLES = 5_760
DELAY = 600  # samples that the resampler holds back
# milliseconds from the callback on
WRITTEN, READ, ENCODE, ENCODED, SENT, ARRIVED = 1, 3, 6, 26, 28, 31


def writes(count: int) -> list[Write]:
    """The k-th callback comes at k x 20 ms."""
    return [
        Write(k * 0.02, k * 0.02 + WRITTEN / 1000, k * BLOCK, max(0, k * BLOCK - DELAY)) for k in range(1, count + 1)
    ]


def completing(position: int) -> float:
    """When the callback came after which the ring holds `position`."""
    return -(-(position + DELAY) // BLOCK) * 0.02


def windows(count: int) -> list[Emitted]:
    def emitted(seq: int) -> Emitted:
        end = (seq + 1) * HOP_SAMPLES
        called_s = completing(end)
        moments = [called_s + ms / 1000 for ms in (READ, ENCODE, ENCODED, SENT)]
        return Emitted(seq, end, end / 24_000, *moments)

    return [emitted(seq) for seq in range(count)]


def arrivals(emitted: list[Emitted]) -> dict[int, float]:
    return {window.seq: window.sent_s + (ARRIVED - SENT) / 1000 for window in emitted}


def measured(emitted: list[Emitted] | None = None, **changed: object) -> LatencyReport:
    emitted = windows(8) if emitted is None else emitted
    notes = {
        "writes": writes(200), "emitted": emitted, "arrivals_s": arrivals(emitted),
        "played_s": [0.45, 0.95], "clicks": [12_000, 24_000],
    }  # fmt: skip
    return report(CONDITIONS, **(notes | changed))  # type: ignore[arg-type]


def test_the_stages_add_up_to_the_promised_time() -> None:
    found = measured()
    assert list(found.stages) == list(STAGES)
    assert [round(span.p50, 6) for span in found.stages.values()] == [1, 2, 3, 20, 2, 3]
    assert found.promised.p50 == pytest.approx(sum(span.p50 for span in found.stages.values()))
    assert found.windows == 8


def test_before_the_promised_time_come_the_device_the_resampler_and_the_rest_of_the_hop() -> None:
    found = measured()
    assert list(found.before) == list(BEFORE)
    carried = 0.02 * (12_000 // BLOCK + 1)  # the first callback that has brought more than 12,000 samples
    assert found.before["device"].p50 == pytest.approx(1000 * (carried - 0.45))
    assert found.before["resampler's delay"].p99 == pytest.approx(20.0), "600 samples are 25 ms: one callback or two"
    assert 0 <= found.before["wait for the hop's end"].p50 <= 240


def test_a_click_is_followed_to_the_first_window_that_holds_it() -> None:
    found = measured(played_s=[0.45], clicks=[3 * HOP_SAMPLES - 1])
    arrived_s = completing(3 * HOP_SAMPLES) + ARRIVED / 1000
    assert found.from_click.p50 == pytest.approx(1000 * (arrived_s - 0.45))
    found = measured(played_s=[0.45], clicks=[3 * HOP_SAMPLES])
    arrived_s = completing(4 * HOP_SAMPLES) + ARRIVED / 1000
    assert found.from_click.p50 == pytest.approx(1000 * (arrived_s - 0.45)), "a window's end is the sample after it"


def test_the_capture_clock_counts_from_the_last_sample() -> None:
    found = measured()
    expected = sorted(1000 * (s - w.captured_s) for w, s in zip(windows(8), arrivals(windows(8)).values(), strict=True))
    assert found.from_capture.p50 == pytest.approx(expected[3])


@pytest.mark.parametrize(("late_ms", "met"), [(28.9, True), (29.1, False)])
def test_the_limit_is_sixty_milliseconds_at_p95(late_ms: float, met: bool) -> None:
    emitted = windows(8)
    late = {seq: arrived_s + late_ms / 1000 for seq, arrived_s in arrivals(emitted).items()}
    assert all_met(measured(emitted, arrivals_s=late).criteria) is met


def test_a_lost_message_is_an_error() -> None:
    emitted = windows(8)
    with pytest.raises(StreamerError, match="Of 8 windows 7 reached"):
        measured(emitted, arrivals_s=arrivals(emitted[1:]))


def test_a_click_that_is_not_captured_is_an_error() -> None:
    with pytest.raises(StreamerError, match="Of 2 clicks 1 were captured"):
        measured(clicks=[12_000])
