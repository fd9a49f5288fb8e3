"""The container file: an image with the program and no secret, run without rights."""

import json
import shlex
import sys

from streamer import __version__
from streamer.commands.service_needs import Needs
from streamer.extras import DISTRIBUTION, source_folder

CONFIG = "/etc/streamer/config.toml"
DATA = "/var/lib/streamer"
USER = 10_001


def container_file(needs: Needs) -> str:
    """Return a file that podman and docker build; its first lines say how it is built and run."""
    checkout, _ = source_folder()
    extras = "[metrics]" if needs.metrics else ""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    install = [f"RUN pip install --no-cache-dir {_index(needs)}'{DISTRIBUTION}{extras}=={__version__}'"]
    if checkout is not None:
        install = [
            "COPY pyproject.toml README.md LICENSE /src/",
            "COPY streamer /src/streamer",
            f"RUN pip install --no-cache-dir {_index(needs)}'/src{extras}' && rm -r /src",
        ]
    source = () if needs.source is None else (needs.source,)
    command = ["streamer", "run", *source, "--headless", *(["--config", CONFIG] if needs.config else [])]
    parts = [
        f"# Build: podman build -t streamer -f Containerfile {checkout or '.'}",
        *_run_hint(needs),
        f"FROM docker.io/library/python:{python}-slim-bookworm",
        *(
            [
                "RUN apt-get update && apt-get install -y --no-install-recommends libportaudio2 \\",
                "    && rm -rf /var/lib/apt/lists/*",
            ]
            if needs.microphone
            else []
        ),
        *install,
        f"RUN install -d -o {USER} -g {USER} -m 700 {DATA}",
        f"ENV HOME={DATA} XDG_DATA_HOME={DATA} XDG_STATE_HOME={DATA} XDG_CACHE_HOME={DATA}/cache PYTHONUNBUFFERED=1",
        f"VOLUME {DATA}",
        f"USER {USER}:{USER}",
        *([f"WORKDIR {needs.folder}"] if needs.folder else []),
        "# Events go to the broker; the log would have them as JSON lines.",
        f"ENTRYPOINT {json.dumps(['sh', '-c', f'exec {shlex.join(command)} > /dev/null'])}",
    ]
    return "\n".join(parts) + "\n"


def _run_hint(needs: Needs) -> list[str]:
    """Return comments: the command that runs the image with as few rights as it needs, a line an option."""
    options = ["--init", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--tmpfs=/tmp"]
    options += ["--restart=on-failure", f"--volume=streamer:{DATA}"]
    if needs.config is not None:
        options.append(f"--volume={needs.config}:{CONFIG}:ro")
    shared = [path for path in needs.reads if path not in (*needs.installed, needs.config)]
    options += [f"--volume={path}:{path}:ro" for path in shared]
    options += [f"--volume={path}:{path}" for path in needs.writes]
    if needs.microphone:
        options += ["--device=/dev/snd", '--group-add="$(getent group audio | cut -d: -f3)"']
    if needs.gpu:
        options.append("--gpus=all")
    if needs.embedded_broker or needs.metrics:
        options.append("--network=host")
    lines = ["# Run:   podman run --detach --name streamer \\"]
    lines += [f"#   {option if '$(' in option else shlex.quote(option)} \\" for option in options]
    lines += ["#   streamer", "# SIGHUP reads the settings again: podman kill --signal HUP streamer"]
    if needs.embedded_broker or needs.metrics:
        lines.append(
            "# (Its own broker and its metrics listen on loopback: with --network=host that is the machine's.)"
        )
    return [
        *lines,
        "# Passwords: --env-file with STREAMER_MQTT__PASSWORD and STREAMER_SOURCE_PASSWORD; none is in the image.",
    ]


def _index(needs: Needs) -> str:
    """Return the option for a torch without CUDA, gigabytes smaller, where there is no GPU."""
    return "" if needs.gpu else "--extra-index-url https://download.pytorch.org/whl/cpu "
