"""`streamer broker`: run the embedded MQTT broker by itself."""

from typing import Annotated

import typer


def broker(
    port: Annotated[int, typer.Option(help="Port to listen on; if it is in use, the next free one is taken.")] = 1883,
    bind: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    open_to_network: Annotated[
        bool, typer.Option("--open-to-network", help="Allow an address that others on the network can reach.")
    ] = False,
) -> None:
    """Run the embedded MQTT broker until Ctrl-C.

    \b
    Example:
      streamer broker --port 1884
    """
    import signal
    import threading

    from streamer.publish.broker import EmbeddedBroker

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    embedded = EmbeddedBroker(bind, port, open_to_network=open_to_network)
    url = embedded.start()
    print(
        f"The broker listens on {url}; Ctrl-C stops it. `streamer watch` on this machine finds it by itself.",
        flush=True,
    )
    try:
        while not stop.wait(0.5):
            pass
    finally:
        embedded.stop()
