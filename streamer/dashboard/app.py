"""The dashboard application: pull one snapshot a tick from the feed and draw it, without ever blocking the feed."""

import asyncio
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

from platformdirs import user_downloads_path
from textual.app import App
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.driver import Driver
from textual.markup import escape
from textual.theme import Theme

from streamer.dashboard.command_palette import Command, DashboardCommands, ThemeCommands
from streamer.dashboard.device_dialog import DeviceScreen
from streamer.dashboard.help import Chosen, HelpScreen
from streamer.dashboard.keyboard import lenient
from streamer.dashboard.keys import CAPTURE_ACTIONS, KEYS
from streamer.dashboard.lens import Lens
from streamer.dashboard.screen import MonitorScreen
from streamer.dashboard.statistics_dialog import StatisticsScreen
from streamer.dashboard.themes import DARK, LIGHT, ThemeMemory, label_colours
from streamer.dashboard.view import View
from streamer.dashboard.widgets.header import Notice
from streamer.errors import StreamerError
from streamer.feed.interpret import labels_of
from streamer.feed.snapshot import CaptureControls, Feed, Snapshot, StreamView
from streamer.plain_text import printable, sentence

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Frozen:
    """The snapshot that a frozen view keeps showing, and the time on the app's clock when it was frozen."""

    snapshot: Snapshot
    since: float


class StreamerApp(App[None]):
    """The terminal dashboard over a feed.

    Args:
        feed: the source of the snapshots, one of which is pulled every tick
        controls: mutes and moves streams; None: the capture belongs to another program
        refresh_hz: ticks a second
        timeline_s: length of the timeline at first, in seconds
        memory: keeps the theme that the user chose; None: it is forgotten
        clock: monotonic seconds, for durations on the screen
    """

    TITLE = "streamer"
    CSS_PATH = Path(__file__).with_name("dashboard.tcss")
    COMMANDS = {DashboardCommands}  # noqa: RUF012  (typed as a class variable by Textual)
    BINDINGS: ClassVar[list[BindingType]] = [*KEYS, Binding("ctrl+c", "quit", show=False, priority=True, system=True)]

    def __init__(
        self,
        feed: Feed,
        controls: CaptureControls | None = None,
        *,
        refresh_hz: float = 8.0,
        timeline_s: float = 300.0,
        memory: ThemeMemory | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.feed = feed
        self.controls = controls
        self._refresh_s = 1.0 / refresh_hz
        self._lens = Lens(timeline_s)
        self._memory = memory
        self._clock = clock
        self._live: Snapshot | None = None
        self._frozen: Frozen | None = None
        self._stream_name: str | None = None  # None: the first stream
        self._error = ""
        self._offered_for: object = None  # what the footer's keys were last computed from
        for theme in (DARK, LIGHT):
            self.register_theme(theme)
        if self.theme == "textual-dark":  # Textual's default; TEXTUAL_THEME may name another
            remembered = memory.recall() if memory else None
            self.theme = remembered if remembered in self.available_themes else DARK.name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return label_colours(self.current_theme)

    def get_default_screen(self) -> MonitorScreen:
        return MonitorScreen()

    def get_driver_class(self) -> type[Driver]:
        return lenient(super().get_driver_class())

    async def on_mount(self) -> None:
        self._quit_on_signals()
        self.theme_changed_signal.subscribe(self, self._remember_theme)
        self.set_interval(self._refresh_s, self.tick)
        self.call_after_refresh(self.tick)

    def tick(self) -> None:
        """Pull the newest snapshot and redraw what changed."""
        if not self.is_running:  # a last tick of the timer while Textual closes the screens, one after the other
            return
        snapshot = self._call_feed(self.feed.snapshot)
        if snapshot is not None:
            self._live, self._error = snapshot, ""
        if self._live is not None:
            self._draw(self._live)

    @property
    def stream(self) -> StreamView | None:
        """The selected stream in its newest state, even while the view is frozen."""
        return None if self._live is None else self._chosen(self._live)

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        stream = self.stream
        if action in CAPTURE_ACTIONS and (stream is None or self.controls is None):
            return False
        match action:
            case "freeze":
                return self._frozen is None and stream is not None
            case "resume":
                return self._frozen is not None
            case "mute":
                return stream is not None and stream.status != "paused"
            case "unmute":
                return stream is not None and stream.status == "paused"
            case "calibrate":
                return stream is not None and stream.enrolment is None
            case "cancel_calibration":
                return stream is not None and stream.enrolment is not None
            case "next_stream":
                return self._live is not None and len(self._live.streams) > 1
            case "step" | "page" | "zoom" | "now" | "statistics":
                return stream is not None
        return True

    def action_freeze(self) -> None:
        if self._live is not None:
            self._frozen = Frozen(self._live, self._clock())
            self.tick()

    def action_resume(self) -> None:
        self._frozen = None
        self.tick()

    def action_mute(self) -> None:
        self._mute(True)

    def action_unmute(self) -> None:
        self._mute(False)

    def action_next_stream(self) -> None:
        if self._live is not None and self.stream is not None:
            names = [stream.name for stream in self._live.streams]
            self.show_stream(names[(names.index(self.stream.name) + 1) % len(names)])

    def show_stream(self, stream_name: str) -> None:
        """Select the stream with that name and show it."""
        self._stream_name = stream_name
        self.tick()

    def action_step(self, columns: int) -> None:
        """Move the cursor of the timeline by so many columns."""
        bin_s = self._lens.span_s / self._monitor_screen.timeline_columns
        self._look(lambda lens, now, oldest: lens.step(columns, bin_s, now, oldest))

    def action_page(self, pages: int) -> None:
        """Scroll the timeline by so many half screens."""
        self._look(lambda lens, now, oldest: lens.page(pages, now, oldest))

    def action_zoom(self, steps: int) -> None:
        """Show more of the past on the timeline, or less."""
        self._look(lambda lens, now, oldest: lens.zoom(steps, now))

    def action_now(self) -> None:
        """Bring the timeline back to now."""
        self._look(lambda lens, now, oldest: Lens(lens.span_s))

    def point_lens(self, columns_from_right: int) -> None:
        """Set the timeline's cursor on a column."""
        bin_s = self._lens.span_s / self._monitor_screen.timeline_columns
        self._look(
            lambda lens, now, oldest: lens.point_at(
                (math.floor(lens.right(now) / bin_s) - columns_from_right + 0.5) * bin_s, now
            )
        )

    def action_statistics(self) -> None:
        self.push_screen(StatisticsScreen())
        self.tick()

    def action_choose_device(self) -> None:
        stream, controls = self.stream, self.controls
        devices = None if controls is None else self._call_feed(controls.devices)
        if stream is None or controls is None or devices is None:
            return

        def choose(device: str | None) -> None:
            if device is not None:
                self._call_feed(lambda: controls.choose_device(stream.name, device))

        self.push_screen(DeviceScreen(stream.name, devices, stream.device), choose)

    def action_calibrate(self) -> None:
        self._with_stream(lambda controls, stream: controls.calibrate(stream))

    def action_cancel_calibration(self) -> None:
        self._with_stream(lambda controls, stream: controls.cancel_calibration(stream))

    def action_screenshot(self, filename: str | None = None, path: str | None = None) -> None:
        """Save the screen as an SVG picture; `path` defaults to the downloads folder and is created if missing."""
        folder = Path(path or user_downloads_path())
        picture = folder / (filename or f"{self.TITLE}_{datetime.now():%Y-%m-%d_%H-%M-%S-%f}.svg")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            picture.write_text(self.export_screenshot(), encoding="utf-8")
        except OSError as error:
            self.notify(
                f"{picture} cannot be written ({error.strerror}); give yourself write permission there.",
                title="No picture was saved",
                severity="error",
                markup=False,
            )
        else:
            self.notify(str(picture), title="Picture saved", markup=False)

    def action_help(self) -> None:
        purposes: dict[str, list[str]] = {}
        for key in KEYS:
            if self.controls is not None or key.action not in CAPTURE_ACTIONS:
                purposes.setdefault(self.get_key_display(key), []).append(key.tooltip)
        stream = self.stream
        chosen = Chosen(self.theme)
        if stream is not None:
            chosen = Chosen(self.theme, stream.name, stream.device, stream.status)
        entries = [(key, "; again: ".join(tooltips)) for key, tooltips in purposes.items()]
        self.push_screen(HelpScreen(entries, chosen))

    def search_themes(self) -> None:
        """Offer the themes, with a mark at the present one."""
        self.push_screen(CommandPalette(providers=[ThemeCommands], placeholder="Search for themes…"))

    def commands(self) -> Iterator[Command]:
        """Yield the commands that the palette offers now."""
        for key in KEYS:
            if self.check_action(key.action, ()):
                yield Command(key.description.capitalize(), key.tooltip, partial(self.run_action, key.action))
        for stream in self._live.streams if self._live else ():
            shown = self.stream is not None and stream.name == self.stream.name
            name = escape(printable(stream.name))  # the palette takes titles for markup
            yield Command(f"Show {name}", f"Show the stream {name}", partial(self.show_stream, stream.name), shown)

    def themes(self) -> Iterator[Command]:
        """Yield a command for each theme."""
        for name in sorted(self.available_themes):
            yield Command(name, "", partial(setattr, self, "theme", name), name == self.theme)

    # Behind the keys

    @property
    def _monitor_screen(self) -> MonitorScreen:
        monitor = self.screen_stack[0]
        assert isinstance(monitor, MonitorScreen)
        return monitor

    def _look(self, move: Callable[[Lens, float, float], Lens]) -> None:
        """Move the lens on the timeline, given what is now and the oldest moment there is, and redraw."""
        shown = self._frozen.snapshot if self._frozen else self._live
        stream = None if shown is None else self._chosen(shown)
        if shown is None or stream is None:
            return
        now = stream.now(shown.time)
        oldest = stream.timeline[0].time if stream.timeline else now
        self._lens = move(self._lens, now, oldest)
        self.tick()

    def _remember_theme(self, theme: Theme) -> None:
        if self._memory is not None:
            self._memory.keep(theme.name)

    def _mute(self, muted: bool) -> None:
        self._with_stream(lambda controls, stream: controls.mute(stream, muted))

    def _with_stream(self, act: Callable[[CaptureControls, str], None]) -> None:
        """Call `act` with the controls and the name of the selected stream, then redraw."""
        stream, controls = self.stream, self.controls
        if stream is not None and controls is not None:
            self._call_feed(lambda: act(controls, stream.name))
            self.tick()

    def _call_feed(self, call: Callable[[], T]) -> T | None:
        """Return the result of `call`; if it raises, show the error on the screen, log it and return None."""
        try:
            return call()
        except Exception as error:  # of any kind: a screen that shows the error beats one that crashed
            message = str(error) if isinstance(error, StreamerError) else f"{type(error).__name__}: {error}"
            if message != self._error:
                logger.exception("The dashboard's feed failed")
                self.notify(sentence(message), title="The monitor failed", severity="error", markup=False)
            self._error = message
            return None

    def _draw(self, live: Snapshot) -> None:
        frozen = self._frozen
        notice = Notice(None if frozen is None else self._clock() - frozen.since, self._error)
        view = self._view(live)
        shown = view if frozen is None else self._view(frozen.snapshot)
        self._monitor_screen.show(view, shown, notice)
        if isinstance(self.screen, StatisticsScreen):
            self.screen.show(shown)
        status = view.stream and view.stream.status
        enrolling = view.stream is not None and view.stream.enrolment is not None
        offered = (frozen is None, len(live.streams) > 1, status is None, status == "paused", enrolling)
        if offered != self._offered_for:
            self._offered_for = offered
            self.refresh_bindings()

    def _view(self, snapshot: Snapshot) -> View:
        stream = self._chosen(snapshot)
        watching = self.controls is None
        return View(snapshot, stream, labels_of(snapshot, stream), watching, self._lens)

    def _chosen(self, snapshot: Snapshot) -> StreamView | None:
        named = (stream for stream in snapshot.streams if stream.name == self._stream_name)
        return next(named, snapshot.streams[0] if snapshot.streams else None)

    def _quit_on_signals(self) -> None:
        """Exit on SIGINT and SIGTERM the way a key does, so that the terminal is restored."""
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; or not the main thread
                asyncio.get_running_loop().add_signal_handler(number, self.exit)
