"""What Prometheus reads: names, figures, and who may ask."""

import http.client
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streamer.errors import StreamerError, UsageError
from streamer.events import STATUSES, Event
from streamer.publish import metrics_server
from streamer.publish.listen import Listen
from streamer.publish.metrics import Metrics
from streamer.publish.metrics_server import MetricsServer
from streamer.publish.open import open_metrics
from streamer.publish.publisher import PublisherStats
from streamer.settings import MetricsConfig
from tests.conftest import missing
from tests.support.event_samples import INFO, health, state, transition, window

BROKER = PublisherStats(True, "mqtt://home:1883", "", sent=70, queued=2, shed=3)
LABELLED = replace(INFO, labels=("neutral", "happy", "angry"))


def text_after(*events: Event, broker: PublisherStats | None = None) -> str:
    metrics = Metrics(None if broker is None else lambda: broker)
    for event in events:
        metrics.add(event)
    registry = CollectorRegistry()
    registry.register(metrics)
    return generate_latest(registry).decode()


def figures(text: str) -> dict[tuple[Any, ...], float]:
    """Name and values of the labels (stream first, then the other) → the figure."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = {}
    for sample in samples:
        labels = dict(sample.labels)
        stream = (labels.pop("stream"),) if "stream" in labels else ()
        found[(sample.name.removeprefix("streamer_"), *stream, *labels.values())] = sample.value
    return found


def test_windows_are_counted_by_what_was_heard_and_what_was_held() -> None:
    first = replace(window(0), start_s=0.0, end_s=0.24, speech=0.5)
    second = replace(window(1), end_s=0.48, speech=1.0)
    third = replace(window(2), end_s=1.0, speech=0.0, dropped_samples=6_720)  # 0.28 s of 0.52 were lost
    found = figures(text_after(LABELLED, first, state("happy"), second, state(None), third, transition(0)))
    assert found["windows_total", "desk"] == 3
    assert found["audio_seconds_total", "desk", "true"] == pytest.approx(0.12 + 0.24)
    assert found["audio_seconds_total", "desk", "false"] == pytest.approx(0.12 + 0.24)
    held = [found["emotion_seconds_total", "desk", label] for label in ("neutral", "happy", "angry", "none")]
    assert held == pytest.approx([0.0, 0.24, 0.0, 0.48])
    assert [found["transitions_total", "desk", label] for label in ("happy", "angry")] == [0, 1]


def test_an_ended_emotion_is_no_second_transition() -> None:
    found = figures(text_after(LABELLED, transition(0), transition(1), transition(2), transition(3)))
    assert found["transitions_total", "desk", "angry"] == 2


def test_a_stream_that_begins_anew_under_its_name_goes_on_counting() -> None:
    again = replace(window(0), start_s=0.0, end_s=0.24)
    found = figures(text_after(LABELLED, replace(window(900), start_s=213.0, end_s=216.0), again))
    assert found["audio_seconds_total", "desk", "true"] == pytest.approx(0.93 * 3.24)


def test_the_latency_is_a_histogram_whose_buckets_are_cumulative() -> None:
    latencies = (9.0, 10.0, 43.0, 150.0, 2_500.0)
    windows = [replace(window(i), latency_ms=ms) for i, ms in enumerate(latencies)]
    found = figures(text_after(LABELLED, *windows, replace(window(9), latency_ms=None)))
    buckets = [
        found["window_latency_seconds_bucket", "desk", bound] for bound in ("0.01", "0.05", "0.15", "2.0", "+Inf")
    ]
    assert buckets == [2, 3, 4, 4, 5]
    assert found["window_latency_seconds_count", "desk"] == 5
    assert found["window_latency_seconds_sum", "desk"] == pytest.approx(2.712)


@pytest.mark.parametrize("status", STATUSES)
def test_one_status_word_holds(status: Any) -> None:
    found = figures(text_after(LABELLED, health(status)))
    assert {word: found["stream_status", "desk", word] for word in STATUSES} == {
        word: float(word == status) for word in STATUSES
    }


@pytest.mark.parametrize(
    ("status", "heard"), [("live", True), ("silence", True), ("mic lost", False), ("paused", False)]
)
def test_the_level_of_a_closed_device_is_not_kept(status: Any, heard: bool) -> None:
    found = figures(text_after(LABELLED, window(), health(status)))
    assert (("input_level_dbfs", "desk") in found) == heard
    assert (("emotion_probability_ratio", "desk", "happy") in found) == heard


def test_losses_and_costs_are_those_of_health() -> None:
    event = replace(
        health(), overflow_events=1, dropped_samples=24_000, skipped_windows=7, compute_s=12.5, rested_s=3.6
    )
    found = figures(text_after(LABELLED, event))
    names = ("device_overflows", "dropped_samples", "skipped_windows", "compute_seconds", "rested_seconds")
    assert [found[f"{name}_total", "desk"] for name in names] == [1, 24_000, 7, 12.5, 3.6]
    assert (found["ring_fill_ratio", "desk"], found["capture_rate_hertz", "desk"]) == (0.04, 47_996.2)
    recording = replace(event, effective_rate_hz=None)
    assert ("capture_rate_hertz", "desk") not in figures(text_after(LABELLED, recording))


def test_a_stream_that_was_removed_is_gone() -> None:
    other = replace(LABELLED, streams=("door",))
    assert "desk" not in text_after(LABELLED, window(), health(), other, window(stream="door"))


def test_the_broker_is_counted_where_there_is_one() -> None:
    found = figures(text_after(LABELLED, broker=BROKER))
    assert (found["mqtt_messages_total", "sent"], found["mqtt_messages_total", "shed"]) == (70, 3)
    assert (found["mqtt_connected",], found["mqtt_queued_messages",]) == (1, 2)
    assert "mqtt" not in text_after(LABELLED)


def test_actions_are_counted_by_how_they_ended() -> None:
    metrics = Metrics(actions=lambda: {"lamp": {"ok": 3, "timeout": 1}, "bell": {}})
    registry = CollectorRegistry()
    registry.register(metrics)
    found = figures(generate_latest(registry).decode())
    assert found == {("action_runs_total", "lamp", "ok"): 3, ("action_runs_total", "lamp", "timeout"): 1}


@pytest.mark.real
def test_prometheus_own_linter_finds_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        missing("promtool", "it is in Debian's package prometheus")
    everything = text_after(LABELLED, window(), state(), transition(0), health(), broker=BROKER)
    done = subprocess.run([str(promtool), "check", "metrics"], input=everything, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    server = MetricsServer(Listen("127.0.0.1", 0), lambda: BROKER)
    server.start()
    yield server
    server.close()


def get(server: MetricsServer, host: str = "localhost", method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, "/metrics", headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_they_are_served_with_the_figures_of_the_process(server: MetricsServer) -> None:
    for event in (LABELLED, window(), health()):
        server.publish(event)
    status, text = get(server)
    assert status == 200
    assert 'streamer_windows_total{stream="desk"} 1.0' in text
    assert "process_resident_memory_bytes" in text or sys.platform != "linux"
    assert "://" not in server.stats().url  # it is no broker


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:9100", 200), ("127.0.0.1", 200), ("[::1]:9100", 200), ("evil.example", 403), ("", 403), ("[", 403)],
)
def test_only_who_asks_for_this_machine_is_answered(server: MetricsServer, host: str, status: int) -> None:
    assert get(server, host)[0] == status


def test_nothing_can_be_posted(server: MetricsServer) -> None:
    assert get(server, method="POST")[0] == 405


def test_silent_clients_are_few_and_do_not_stay(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server._Handler, "timeout", 0.5)
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(metrics_server.MAX_CONNECTIONS + 5)]
    for one in silent:
        one.settimeout(10)
        assert one.recv(1) == b""  # dropped: at once, or when they said nothing in time
        one.close()
    assert get(server)[0] == 200


def test_a_port_in_use_is_one_sentence(server: MetricsServer) -> None:
    with pytest.raises(StreamerError, match=rf"127\.0\.0\.1:{server.port} \(Address already in use\); give another"):
        MetricsServer(Listen("127.0.0.1", server.port))


def test_closing_releases_the_port_also_before_the_start() -> None:
    first = MetricsServer(Listen("127.0.0.1", 0))
    first.close()
    first.close()
    MetricsServer(Listen("127.0.0.1", first.port)).close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9100", "127.0.0.1:9100"),
        ("localhost:9100", "127.0.0.1:9100"),
        ("0.0.0.0:9100", "0.0.0.0:9100"),
        ("[::1]:0", "[::1]:0"),
    ],
)
def test_a_place_to_listen_is_a_port_or_an_address_and_a_port(text: str, address: str) -> None:
    assert str(Listen.parse(text, "--metrics")) == address


@pytest.mark.parametrize("text", ["", "http", "127.0.0.1", "127.0.0.1:", ":9100", "host.lan:9100", "65536", "-1", "²"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"metrics.listen = .* is no place to listen; write a port \(9100\)"):
        open_metrics(MetricsConfig(listen=text))


def test_without_the_extra_the_command_that_adds_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.publish.open.find_spec", lambda name: None)
    assert open_metrics(MetricsConfig()) is None
    with pytest.raises(UsageError, match=r"which is not installed; .*pip install .*\[metrics\]"):
        open_metrics(MetricsConfig(listen="9100"))
