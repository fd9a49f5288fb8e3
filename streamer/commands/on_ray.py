"""The options of commands that can compute on a Ray cluster. Nothing heavy is imported here."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated

import typer

from streamer.errors import UsageError
from streamer.extras import install_command

OBJECT_STORE_MB = 256  # of a cluster of this machine alone; what lies there is names of recordings

OnRay = Annotated[bool, typer.Option("--ray", help="Compute with Ray, on all machines of its cluster.")]
RayAddress = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT|auto", help="With --ray: its cluster. Default: RAY_ADDRESS, else this machine."),
]


@dataclass(frozen=True, slots=True)
class RayChoice:
    """A cluster to compute on."""

    address: str | None  # None: of this machine alone


def require_ray(what: str) -> None:
    """Raise UsageError where Ray is missing."""
    if find_spec("ray") is None:
        raise UsageError(f"{what} needs Ray, which is not installed; {install_command('fleet')}.")


def chosen_ray(on_ray: bool, address: str | None) -> RayChoice | None:
    """Return the cluster that the options name; None: they name none.

    Raises:
        UsageError: Ray is missing, or an address is given alone.
    """
    if not on_ray:
        if address is not None:
            raise UsageError("--address names a Ray cluster, which --ray uses; add --ray.")
        return None
    require_ray("--ray")
    return RayChoice(address or os.environ.get("RAY_ADDRESS") or None)
