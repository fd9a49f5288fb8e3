"""The device chooser."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from streamer.dashboard.drawing import plain

NO_DEVICES = "No input device was found. Plug one in; it is offered here as soon as the system knows it."


class DeviceScreen(ModalScreen[str | None]):
    """Lists input devices and returns the name of the one that was chosen, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,d", "dismiss(None)", "close", tooltip="Keep the device as it is"),
    ]

    def __init__(self, stream: str, devices: tuple[str, ...], current: str | None) -> None:
        super().__init__()
        self._stream = stream
        self._devices = devices
        self._current = current

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = f"Input device of {plain(self._stream)}"
            dialog.border_subtitle = "enter chooses · esc keeps"
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
        return f"{'●' if name == self._current else ' '} {plain(name)}"
