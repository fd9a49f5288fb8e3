"""Options and arguments that several commands share. Nothing heavy is imported here: `streamer --help` reads it."""

from pathlib import Path
from typing import Annotated, Any

import typer

SOURCES = "auto | mic | mic:NAME-OR-INDEX | a file | a URL | - (a recording or raw PCM on standard input) | demo"
CHECKPOINTS = "bundled | measured | a .safetensors file"

ConfigFile = Annotated[
    Path | None,
    typer.Option(help="Settings file. Default: ./config.toml, else the user's; `streamer doctor` shows which."),
]
Mqtt = Annotated[
    str | None, typer.Option(metavar="URL|embedded|off", help="Broker to publish to. Default: mqtt.url, embedded.")
]
Metrics = Annotated[
    str | None,
    typer.Option(metavar="[ADDRESS:]PORT", help="Serve metrics to Prometheus there. Default: metrics.listen, off."),
]
Serve = Annotated[
    str | None,
    typer.Option(metavar="[ADDRESS:]PORT", help="Serve a page for the browser there. Default: web.listen, off."),
]
OpenToNetwork = Annotated[
    bool | None,
    typer.Option(
        "--open-to-network",
        help="Let others on the network see the page, with a token. Default: web.open_to_network, false.",
    ),
]
LogFile = Annotated[
    Path | None,
    typer.Option(help="File for warnings while the dashboard is shown. Default: in the user's log folder."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

# For the commands that read config.toml: the option overrides the file.
ModelDevice = Annotated[
    str | None, typer.Option(help="Device of the model: auto | cpu | cuda | cuda:N | mps. Default: model.device, auto.")
]
ModelCheckpoint = Annotated[str | None, typer.Option(help=f"Model: {CHECKPOINTS}. Default: model.checkpoint, bundled.")]

# For the research commands, which do not.
Corpora = Annotated[
    list[Path], typer.Argument(help="Corpus folders, or CSV files with columns path,label,speaker.", show_default=False)
]
Work = Annotated[Path, typer.Option(help="Folder for decoded audio, cached features and the state of a run.")]
Device = Annotated[str, typer.Option(help="Device: auto | cpu | cuda | mps.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Number of CPU threads. Default: torch's choice.")]


def given_tables(**tables: dict[str, Any]) -> dict[str, Any]:
    """Return the settings tables with only the values that were given on the command line."""
    given = {name: {key: value for key, value in table.items() if value is not None} for name, table in tables.items()}
    return {name: table for name, table in given.items() if table}


def warn_of_visible_password(url: str | None) -> None:
    """Say so where the command line holds a password: every user of the machine can read it there."""
    from urllib.parse import urlsplit

    from streamer.commands.stderr import notice

    try:
        given = urlsplit(url or "").password
    except ValueError:
        return
    if given:
        notice(
            "A password on the command line can be read by every user of this machine; give it in "
            "STREAMER_MQTT__PASSWORD or mqtt.password_file, or the whole URL in STREAMER_MQTT__URL."
        )


BrokerUrl = Annotated[
    str | None,
    typer.Argument(
        help="mqtt://host:port. Default: mqtt.url, else the broker of a monitor on this machine.",
        show_default=False,
    ),
]
ShownNode = Annotated[str | None, typer.Option(help="Show only this node. Default: all.")]
