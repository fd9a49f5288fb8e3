"""What `streamer run` would refuse in settings, looked for without starting anything."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from streamer.errors import StreamerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.config import Loaded
    from streamer.settings import AudioConfig, Settings, StreamConfig


def problems(loaded: Loaded) -> tuple[str, ...]:
    """Return what is wrong, a sentence each: with single keys, then with what they say."""
    return (*loaded.problems, *refused(loaded.settings))


_TABLES = ("[mqtt]", "[metrics]", "[web]")


def refused(settings: Settings) -> list[str]:
    """Return why `streamer run` would refuse `settings`, a sentence for each table that it would."""
    from streamer.publish.actions import missing_program
    from streamer.publish.open import metrics_listen
    from streamer.web.where import page_listen

    checks: list[tuple[str, Callable[[], object]]] = [("[mqtt]", partial(check_mqtt, settings))]
    checks.append(("[metrics]", partial(metrics_listen, settings.metrics)))
    checks.append(("[web]", partial(page_listen, settings.web)))
    checks += [(source_title(table), partial(check_source, table)) for table in named_sources(settings)]
    found = []
    for where, check in checks:
        try:
            check()
        except StreamerError as error:
            found.append(
                f"{where} {error}" if where in ("[mqtt]", "[metrics]", "[web]") else f"{where} source: {error}"
            )
    return found + [problem for table in settings.action for problem in missing_program(table)]


def named_sources(settings: Settings) -> tuple[AudioConfig | StreamConfig, ...]:
    """Return the tables whose sources `streamer run` opens: the [[stream]] tables, else [audio]."""
    return settings.stream or (settings.audio,)


def source_title(table: AudioConfig | StreamConfig) -> str:
    """Return how a table that names a source is called in messages."""
    name = getattr(table, "name", "")
    return f"[[stream]] {name}" if name else "[audio]"


def check_source(table: AudioConfig | StreamConfig) -> None:
    """Raise UsageError where the source is none, is a file that is missing, or its password cannot be read."""
    from streamer.sources.open import check_recording, parse_source, source_password

    spec = parse_source(table.source)
    if spec.kind == "recording":
        check_recording(spec.target)
    if spec.address is not None and table.source_password_file:
        source_password(table.source_password_file)


def check_mqtt(settings: Settings) -> None:
    """Raise UsageError where the URL, a part of a topic or a certificate cannot be used."""
    from streamer.publish.open import mqtt_settings
    from streamer.publish.topics import Topics, default_node

    table = settings.mqtt
    if table.url in ("embedded", "off"):
        Topics(table.prefix, default_node() if table.node == "auto" else table.node)
    else:
        mqtt_settings(table, table.url).tls_context()
