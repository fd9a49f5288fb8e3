"""Record the synthetic day by a real recorder, from an event on, until killed: `record_day FOLDER FIRST PER_SECOND`.

Prints, after each burst, how many events of the day were published, and when by the monotonic clock.
"""

import os
import sys
import time
from itertools import islice
from pathlib import Path

from streamer.sessions.recorder import Recorder
from streamer.settings import RecordConfig
from tests.sessions.synthetic_day import INFO, NOON, day

BURSTS_A_SECOND = 20


def main(folder: Path, first: int, per_second: int) -> None:
    now = NOON
    recorder = Recorder(folder, RecordConfig(), wait=True, wall=lambda: now)
    recorder.start()
    recorder.publish(INFO)
    for index, event in enumerate(islice(day(), first, None), first + 1):
        now = event.time
        recorder.publish(event)
        if index % (per_second // BURSTS_A_SECOND) == 0:
            os.write(1, f"{index} {time.monotonic()}\n".encode())
            time.sleep(1 / BURSTS_A_SECOND)
    recorder.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
