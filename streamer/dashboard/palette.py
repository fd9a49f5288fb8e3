"""The command palette: what the keys do, by name, and every stream."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from textual.command import DiscoveryHit, Hit, Hits, Provider


@dataclass(frozen=True, slots=True)
class Command:
    """One entry of the palette."""

    title: str
    help: str
    run: Callable[[], Awaitable[object] | object]


@runtime_checkable
class OffersCommands(Protocol):
    """The app, as far as the palette knows it."""

    def commands(self) -> Iterable[Command]:
        """What can be done now."""
        ...


class DashboardCommands(Provider):
    """Offers the commands of an app that `OffersCommands`."""

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
