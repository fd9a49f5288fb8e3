"""`streamer broker`: run the embedded MQTT broker by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamer.commands.options import ConfigFile


def broker(
    port: Annotated[int, typer.Option(help="Port to listen on; if it is in use, the next free one is taken.")] = 1883,
    bind: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    open_to_network: Annotated[
        bool,
        typer.Option(
            "--open-to-network", help="Allow an address that others on the network can reach; they need a password."
        ),
    ] = False,
    password_file: Annotated[
        Path | None,
        typer.Option(help="File with that password. Default: one is made, shown once, and kept for the next time."),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate, PEM. Default: unencrypted.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key, PEM. Default: in the certificate's file.")] = None,
    config: ConfigFile = None,
) -> None:
    """Run the embedded MQTT broker until Ctrl-C.

    It keeps nothing for clients that are away: where that matters, take Mosquitto.

    \b
    Examples:
      streamer broker --port 1884
      streamer broker --bind 0.0.0.0 --open-to-network
    """
    import logging
    import signal

    from streamer.commands.ending import EndWish
    from streamer.commands.hangup import on_hangup
    from streamer.commands.stderr import PlainFormatter, notice
    from streamer.config import load
    from streamer.errors import UsageError
    from streamer.publish.broker import BrokerOptions, EmbeddedBroker
    from streamer.publish.broker_access import new_secret

    if (password_file or tls_cert) and not open_to_network:
        raise UsageError("--password-file and --tls-cert are for a broker on the network; add --open-to-network.")
    if tls_key and not tls_cert:
        raise UsageError("--tls-key is given without --tls-cert; give both.")
    table = load(config).mqtt
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("streamer: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO)  # who was refused, and why
    stop = EndWish()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    on_hangup(end=stop.set, reload=lambda: notice("A broker has no settings that could be read again."))
    password = network_password(password_file) if open_to_network else new_secret()
    options = BrokerOptions(
        bind,
        port,
        access=table.embedded_access,
        prefix=table.prefix,
        secret=password,
        open_to_network=open_to_network,
        tls_cert=tls_cert,
        tls_key=tls_key,
    )
    embedded = EmbeddedBroker(options)
    url = embedded.start()
    print(
        f"The broker listens on {url}; Ctrl-C stops it. `streamer watch` on this machine finds it by itself.",
        flush=True,
    )
    if open_to_network:
        notice(
            "Whoever has the password can read everything and publish, too."
            + ("" if tls_cert else " It travels unencrypted: --tls-cert encrypts.")
        )
    try:
        while not stop.wait(0.5):
            pass
    finally:
        embedded.stop()


def network_password(file: Path | None) -> str:
    """Return the password for clients on the network: the file's, or the one that was made before, or a new one.

    Raises:
        UsageError: the file cannot be read, or no new one written.
    """
    import platformdirs

    from streamer.commands.stderr import notice
    from streamer.errors import UsageError
    from streamer.publish.broker_access import USERNAME, new_secret
    from streamer.secret_files import read_password, write_password

    if file is not None:
        return read_password(file, "--password-file")
    kept = platformdirs.user_config_path("streamer") / "broker-password"
    if kept.exists():
        notice(f"User {USERNAME}; the password is in {kept}.")
        return read_password(kept, "the broker's password")
    password = new_secret()
    try:
        write_password(kept, password)
    except OSError as error:
        raise UsageError(
            f"The broker's password cannot be kept in {kept} ({error.strerror}); name one with --password-file."
        ) from None
    notice(f"User {USERNAME}, password {password}; shown this once, and kept in {kept}.")
    return password
