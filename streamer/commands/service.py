"""`streamer service`: print what runs the monitor as a service."""

from __future__ import annotations

from typing import Annotated

import typer

from streamer.commands.options import SOURCES, ConfigFile


def service(
    source: Annotated[
        str | None, typer.Argument(help=f"{SOURCES}. Default: that of the settings.", show_default=False)
    ] = None,
    config: ConfigFile = None,
    user: Annotated[
        bool, typer.Option("--user", help="A unit of your own session, which has its sound server.")
    ] = False,
    container: Annotated[bool, typer.Option("--container", help="A container file instead of a systemd unit.")] = False,
) -> None:
    """Print a systemd unit, or a container file, to run it.

    It has the rights that the settings need and no others. Nothing is started.

    \b
    Examples:
      streamer service --config /etc/streamer.toml | sudo tee /etc/systemd/system/streamer.service
      streamer service --user > ~/.config/systemd/user/streamer.service
      streamer service --container > Containerfile
    """
    from streamer.commands.options import given_tables
    from streamer.commands.service_container import container_file
    from streamer.commands.service_needs import needs_of
    from streamer.commands.service_unit import system_unit, user_unit
    from streamer.config import file_in_force, load

    settings = load(config, given_tables(audio={"source": source}))
    needs = needs_of(settings, file_in_force(config), source)
    text = container_file if container else user_unit if user else system_unit
    print(text(needs), end="", flush=True)
