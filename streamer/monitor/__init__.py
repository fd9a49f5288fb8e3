"""A running emotion monitor.

`monitor` is what commands, the screen and users of the library hold; `roster` keeps its streams, before and after the
model is loaded; `mutes` mutes them and shows it; `lookout` looks at the broker, the mutes on disk and the memory while
all runs.

May import everything that runs live; loads torch in the monitor's own thread only.
"""

from streamer.monitor.monitor import Monitor

__all__ = ["Monitor"]
