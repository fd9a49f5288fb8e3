"""Read the keyboard leniently: whatever bytes a terminal sends, the program goes on.

Textual's driver decodes strictly, and ends the app at the first byte that is no UTF-8: an umlaut from a Latin-1
terminal, a sequence that was cut, a mouse report in the old coding, whose coordinates are bytes above 127.
"""

import logging
import os
import selectors
from codecs import getincrementaldecoder

from textual.driver import Driver

READ_BYTES = 4096
POLL_S = 0.1  # how often a lone escape, and the end, are looked for

logger = logging.getLogger(__name__)


def lenient(driver: type[Driver]) -> type[Driver]:
    """Return `driver` with a lenient keyboard, where it is the one that reads a Unix terminal."""
    try:
        from textual.drivers.linux_driver import LinuxDriver
    except ImportError:  # Windows, whose console sends characters
        return driver
    if driver is not LinuxDriver:
        return driver
    from textual._xterm_parser import XTermParser

    class LenientDriver(LinuxDriver):
        """Implements the loop of the input thread."""

        def run_input_thread(self) -> None:
            """Read keys until the app ends, or the terminal is gone; who runs the app looks for that."""
            decoder, parser = getincrementaldecoder("utf-8")(errors="replace"), XTermParser(self._debug)
            with selectors.DefaultSelector() as selector:
                selector.register(self.fileno, selectors.EVENT_READ)
                while not self.exit_event.is_set():
                    data = None
                    if selector.select(POLL_S):
                        data = _read(self.fileno)
                        if data == b"":
                            return
                    for piece in (*(decoder.decode(data) if data else ""), None):  # None: time has passed
                        try:
                            for message in parser.tick() if piece is None else parser.feed(piece):
                                self.process_message(message)
                        except Exception:  # a sequence that the parser does not survive; what follows may be a key
                            logger.warning("The terminal sent what cannot be read: %r", data, exc_info=True)
                            parser = XTermParser(self._debug)

    return LenientDriver


def _read(descriptor: int) -> bytes:
    """Return what is there; nothing at the end, or where the terminal has hung up."""
    try:
        return os.read(descriptor, READ_BYTES)
    except OSError:
        return b""
