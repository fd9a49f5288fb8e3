#!/usr/bin/env bash
# What soundfile reads from the middle of an MP3.
#
# Guess:     `read(start=...)` gives the samples that a whole read has at that place: libsndfile knows the encoder's delay,
#            and seeks to the sample.
# Behaviour: the place is right, the sound is not. A frame of an MP3 takes bits from frames before it (ISO 11172-3, the "bit
#            reservoir"), and a seek does not read enough of them. At 27 kbit/s every segment starts with up to 60 ms that
#            are not in the whole read, at 40 kbit/s half of the segments with up to 14 ms; at 73 kbit/s all is right. There
#            is no error, at most a line of libmpg123 on stderr. Read from 0.1 s before, or decode the file once.
# Versions:  soundfile 0.14.0 (libsndfile 1.2.2), numpy 2.4.6, Python 3.11.
# Seen:      73 kbit/s, read from 0.0 s before: 0 % of the segments wrong, for up to 0 ms
#            73 kbit/s, read from 0.1 s before: 0 % of the segments wrong, for up to 0 ms
#            40 kbit/s, read from 0.0 s before: 50 % of the segments wrong, for up to 14 ms
#            40 kbit/s, read from 0.1 s before: 0 % of the segments wrong, for up to 0 ms
#            27 kbit/s, read from 0.0 s before: 100 % of the segments wrong, for up to 60 ms
#            27 kbit/s, read from 0.1 s before: 0 % of the segments wrong, for up to 0 ms
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet soundfile==0.14.0 numpy==2.4.6
cd "$folder"
cat > segments.py <<'PYTHON'
from pathlib import Path

import numpy as np
import soundfile

RATE, LENGTH_S, SEGMENT_S, EARLIER_S = 24_000, 60, 0.25, 0.1
random = np.random.default_rng(0)
loudness = np.repeat(random.uniform(0.01, 0.3, LENGTH_S * 5), RATE // 5)  # five "syllables" a second
noise = (loudness * random.uniform(-1, 1, LENGTH_S * RATE)).astype(np.float32)
size = round(SEGMENT_S * RATE)


def wrong_ms(whole: np.ndarray, start: int, earlier: int) -> float:
    """How long a segment differs from the same part of the whole file, by more than a thousandth of full scale."""
    read, _ = soundfile.read("it.mp3", start=start - earlier, frames=size + earlier)
    wrong = np.flatnonzero(np.abs(read[earlier:] - whole[start : start + size]) > 1e-3)
    return (wrong[-1] + 1) / RATE * 1000 if len(wrong) else 0.0


for compression in (0.0, 0.5, 0.9):
    soundfile.write("it.mp3", noise, RATE, compression_level=compression)
    whole, _ = soundfile.read("it.mp3")
    starts = range(RATE, len(whole) - size, size)
    for earlier in (0, round(EARLIER_S * RATE)):
        wrong = [wrong_ms(whole, start, earlier) for start in starts]
        print(
            f"{Path('it.mp3').stat().st_size * 8 / LENGTH_S / 1000:.0f} kbit/s, read from {earlier / RATE} s before: "
            f"{100 * np.count_nonzero(wrong) / len(wrong):.0f} % of the segments wrong, for up to {max(wrong):.0f} ms"
        )
PYTHON
venv/bin/python segments.py 2> /dev/null | tee output.txt
diff output.txt - <<'SEEN'
73 kbit/s, read from 0.0 s before: 0 % of the segments wrong, for up to 0 ms
73 kbit/s, read from 0.1 s before: 0 % of the segments wrong, for up to 0 ms
40 kbit/s, read from 0.0 s before: 50 % of the segments wrong, for up to 14 ms
40 kbit/s, read from 0.1 s before: 0 % of the segments wrong, for up to 0 ms
27 kbit/s, read from 0.0 s before: 100 % of the segments wrong, for up to 60 ms
27 kbit/s, read from 0.1 s before: 0 % of the segments wrong, for up to 0 ms
SEEN
echo "as seen"
