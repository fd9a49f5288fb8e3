"""The command palette: the actions of the keys by name, and one command per stream."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from textual.command import DiscoveryHit, Hit, Hits, Provider


@dataclass(frozen=True, slots=True)
class Command:
    """Holds one entry of the palette."""

    title: str
    help: str
    run: Callable[[], Awaitable[object] | object]


@runtime_checkable
class OffersCommands(Protocol):
    """The part of the app that the palette uses."""

    def commands(self) -> Iterable[Command]:
        """Yield the commands that are available now."""
        ...


class DashboardCommands(Provider):
    """Provides the commands of an app that implements `OffersCommands`."""

    async def discover(self) -> Hits:
        for command in self._commands():
            yield DiscoveryHit(command.title, command.run, help=command.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for command in self._commands():
            score = max(matcher.match(command.title), matcher.match(command.help) / 2)
            if score > 0:
                yield Hit(score, matcher.highlight(command.title), command.run, help=command.help)

    def _commands(self) -> Iterable[Command]:
        return self.app.commands() if isinstance(self.app, OffersCommands) else ()
