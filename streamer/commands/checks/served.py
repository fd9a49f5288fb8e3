"""Take the ports that `streamer run` would serve on, and look for the programs that it would start."""

import errno
from collections.abc import Iterator

from streamer.commands.checks.finding import Finding
from streamer.errors import UsageError
from streamer.http_server import bound_socket
from streamer.publish.actions import missing_program
from streamer.publish.broker_files import find_broker
from streamer.publish.listen import Listen
from streamer.publish.open import metrics_listen
from streamer.settings import Settings
from streamer.web.where import page_listen


def check_metrics(settings: Settings) -> Iterator[Finding]:
    """Yield whether the metrics can be served; nothing where they are off."""
    listen = metrics_listen(settings.metrics)
    if listen is not None:
        yield _port("metrics", listen)


def check_web(settings: Settings) -> Iterator[Finding]:
    """Yield whether the page can be served; nothing where it is off."""
    listen = page_listen(settings.web)
    if listen is not None:
        yield _port("web", listen)


def check_actions(settings: Settings) -> Iterator[Finding]:
    """Yield the actions whose program cannot be started."""
    for table in settings.action:
        for problem in missing_program(table):
            yield Finding("action", "bad", problem)


def _port(name: str, listen: Listen) -> Finding:
    try:
        bound_socket(listen.family, (listen.address, listen.port)).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE and find_broker() is not None:
            text = f"{listen} is taken, perhaps by the monitor that runs; a second one needs another port."
            return Finding(name, "note", text)
        raise UsageError(f"{name}.listen: {listen} cannot be taken ({error.strerror}); give another port.") from None
    return Finding(name, "ok", f"{listen} is free")
