"""The dialog for choosing an input device."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.markup import escape
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from streamer.plain_text import printable

NO_DEVICES = "No input device was found. Plug one in; it is listed here as soon as the system detects it."


class DeviceScreen(ModalScreen[str | None]):
    """List the input devices and dismiss with the name of the chosen one, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,d", "dismiss(None)", "close", tooltip="Keep the current device"),
    ]

    def __init__(self, stream: str, devices: tuple[str, ...], current: str | None) -> None:
        super().__init__()
        self._stream = stream
        self._devices = devices
        self._current = current

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = f"Input device of {escape(printable(self._stream))}"
            dialog.border_subtitle = "enter chooses · esc keeps"
            if self._current and self._current not in self._devices:
                yield Static(f"● {printable(self._current)}, which is not in the list", markup=False, classes="hint")
            if self._devices:
                yield OptionList(*(Option(self._prompt(name)) for name in self._devices), markup=False)
            else:
                yield Static(NO_DEVICES, markup=False, classes="hint")

    def on_mount(self) -> None:
        if self._current in self._devices:
            self.query_one(OptionList).highlighted = self._devices.index(self._current)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._devices[event.option_index])

    def _prompt(self, name: str) -> str:
        return f"{'●' if name == self._current else ' '} {printable(name)}"
