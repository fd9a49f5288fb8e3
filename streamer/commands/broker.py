"""`streamer broker`: the embedded MQTT broker by itself."""

import signal
import threading

from streamer.publish.broker import EmbeddedBroker


def run_broker(bind: str, port: int, *, open_to_network: bool) -> None:
    """Listen until Ctrl-C or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    broker = EmbeddedBroker(bind, port, open_to_network=open_to_network)
    url = broker.start()
    print(
        f"The broker listens on {url}; Ctrl-C ends it. `streamer watch` on this machine finds it by itself.", flush=True
    )
    try:
        while not stop.wait(0.5):
            pass
    finally:
        broker.stop()
