"""The command palette: the actions of the keys by name, one command per stream, and the choice of themes."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

CHOSEN = "● "


@dataclass(frozen=True, slots=True)
class Command:
    """Holds one entry of the palette."""

    title: str
    help: str
    run: Callable[[], Awaitable[object] | object]
    chosen: bool = False  # it would change nothing: it is what holds now


@runtime_checkable
class OffersCommands(Protocol):
    """The part of the app that the palette uses."""

    def commands(self) -> Iterable[Command]:
        """Yield the commands that are available now."""
        ...

    def themes(self) -> Iterable[Command]:
        """Yield a command for each theme."""
        ...


class DashboardCommands(Provider):
    """Provides the commands of an app that implements `OffersCommands`; what is chosen has a mark."""

    async def discover(self) -> Hits:
        for command in self._commands():
            mark = CHOSEN if command.chosen else ""
            yield DiscoveryHit(mark + command.title, command.run, command.title, command.help or None)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for command in self._commands():
            score = max(matcher.match(command.title), matcher.match(command.help) / 2)
            if score > 0:
                mark = CHOSEN if command.chosen else ""
                shown = Content(mark) + matcher.highlight(command.title)
                yield Hit(score, shown, command.run, command.title, command.help or None)

    def _commands(self) -> Iterable[Command]:
        return self.app.commands() if isinstance(self.app, OffersCommands) else ()


class ThemeCommands(DashboardCommands):
    """Provides the themes of that app."""

    def _commands(self) -> Iterable[Command]:
        return self.app.themes() if isinstance(self.app, OffersCommands) else ()
