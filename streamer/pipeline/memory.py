"""Use no more memory than is needed: while the model is loaded, after that, and for weeks."""

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator
from pathlib import Path

_MAPPINGS = Path("/proc/self/smaps")
_DONTNEED = 4  # MADV_DONTNEED of Linux: the pages are read again where they are touched
_LEAST_BYTES = 1_000_000  # of a library's code
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc
_APART_BYTES = 1_000_000  # of what is mapped by itself while the model is loaded
_LARGEST_BYTES = 16 * 2**20  # of what comes from the heap afterwards: mapping what each step takes anew is slow


def return_freed_memory() -> None:
    """Give back what was freed; on Linux with glibc, elsewhere nothing. Takes some milliseconds.

    glibc keeps freed memory otherwise, in up to eight arenas a core, and each grows to the most that its threads ever
    had at once: what waited for a broker that was away stays a process's size for good.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def return_memory() -> None:
    """Give back what loading has freed, and the code that only loading ran; on Linux with glibc, elsewhere nothing.

    Of freed memory that is some 100 MB. Of the code of torch's libraries, loading runs 90 MB, of which the
    steps of a monitor run a third. Code that is needed again is read again from the system's file cache.
    """
    gc.collect()
    return_freed_memory()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL("libc.so.6")
            libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
            for begin, end in list(_code(_MAPPINGS.read_text(encoding="utf-8", errors="replace"))):
                libc.madvise(begin, end - begin, _DONTNEED)


@contextlib.contextmanager
def weights_apart() -> Iterator[None]:
    """Map each large allocation within by itself; on Linux with glibc, elsewhere nothing.

    What is freed then leaves no holes between what stays. The plain weights, freed once they are packed, left 16 MB of
    them, and the steps of the first minute touched all.
    """
    _set_malloc(_MMAP_THRESHOLD, _APART_BYTES)
    try:
        yield
    finally:
        _set_malloc(_MMAP_THRESHOLD, _LARGEST_BYTES)
        _set_malloc(_TRIM_THRESHOLD, 2 * _LARGEST_BYTES)  # as glibc chooses it by itself


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage within: modules make next to none, and looking for it takes a sixth of their import."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _set_malloc(option: int, value: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").mallopt(option, value)


def _code(mappings: str) -> Iterator[tuple[int, int]]:
    """Yield begin and end of every large mapping of a file's code of which this process has changed no page.

    Changes, as a debugger's or those of a relocation, would be lost. `mappings` is the text of Linux's `smaps`.
    """
    begin, end = 0, 0  # 0: the mapping is of another kind
    for line in mappings.splitlines():
        name, *values = line.split()
        if not name.endswith(":"):  # the first line of a mapping: addresses, rights, offset, device, inode, path
            begin, end = (int(address, 16) for address in name.split("-"))
            if values[0] != "r-xp" or not values[-1].startswith("/") or end - begin < _LEAST_BYTES:
                begin = end = 0
        elif name == "Anonymous:" and end and int(values[0]) == 0:
            yield begin, end
