"""What SIGHUP does: a terminal that closes ends the program, an operator of a service reloads its settings."""

import os
import signal
from collections.abc import Callable


def on_hangup(end: Callable[[], None], reload: Callable[[], None]) -> None:
    """Call `end` on SIGHUP where there is a controlling terminal, and `reload` where there is none.

    Whoever started the program in a terminal with SIGHUP ignored (`nohup`) wants it to outlive that terminal: it stays
    ignored. Both are called in the main thread, between two of its instructions: they only set something. Call it in
    the main thread. Where there is no SIGHUP (Windows) nothing happens.
    """
    if not hasattr(signal, "SIGHUP"):
        return
    terminal = has_controlling_terminal()
    if terminal and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return
    act = end if terminal else reload
    signal.signal(signal.SIGHUP, lambda *_: act())


def has_controlling_terminal() -> bool:
    """Return whether the kernel would send SIGHUP when a terminal closes."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | getattr(os, "O_NOCTTY", 0)))
    except OSError:
        return False
    return True
