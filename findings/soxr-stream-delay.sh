#!/usr/bin/env bash
# How long soxr's streaming resampler holds audio back.
#
# Guess:     a better quality has a longer filter, so it costs more delay; the input's rate does not matter.
# Behaviour: ResampleStream returns its output in bursts. From 48 kHz to 24 kHz MQ, HQ and VHQ all hold back up to 37 to
#            39 ms; from 11.025 kHz HQ holds back up to 84 ms. What decides is the ratio of the rates, not the quality; only
#            LQ (20 ms) and QQ (nothing) are lower. A latency budget has to take the largest value, by rate.
# Versions:  soxr 1.1.0 (libsoxr 0.1.3-14-ga66f3ee), numpy 2.4.6, Python 3.11.
# Seen:      largest delay in ms, 10 ms blocks, to 24 kHz
#              8000 QQ 0 LQ 40 MQ 75 HQ 73
#             11025 QQ 0 LQ 2 MQ 85 HQ 84
#             16000 QQ 0 LQ 20 MQ 38 HQ 37
#             44100 QQ 0 LQ 20 MQ 39 HQ 38
#             48000 QQ 0 LQ 20 MQ 39 HQ 38
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet soxr==1.1.0 numpy==2.4.6
cd "$folder"
cat > delay.py <<'PYTHON'
import numpy as np
import soxr


def largest_delay_ms(rate_hz: int, quality: str) -> int:
    """Feed one second in blocks of 10 ms; return the most that was fed and not yet returned, after 0.2 s."""
    stream = soxr.ResampleStream(rate_hz, 24_000, 1, dtype="float32", quality=quality)
    block, fed, returned, held_back_s = rate_hz // 100, 0, 0, []
    for _ in range(100):
        returned += len(stream.resample_chunk(np.ones(block, dtype="float32")))
        fed += block
        held_back_s.append(fed / rate_hz - returned / 24_000)
    return round(1000 * max(held_back_s[20:]))


for rate_hz in (8_000, 11_025, 16_000, 44_100, 48_000):
    print(rate_hz, *(f"{quality} {largest_delay_ms(rate_hz, quality)}" for quality in ("QQ", "LQ", "MQ", "HQ")))
PYTHON
"$folder/venv/bin/python" delay.py | tee output.txt
diff output.txt - <<'SEEN'
8000 QQ 0 LQ 40 MQ 75 HQ 73
11025 QQ 0 LQ 2 MQ 85 HQ 84
16000 QQ 0 LQ 20 MQ 38 HQ 37
44100 QQ 0 LQ 20 MQ 39 HQ 38
48000 QQ 0 LQ 20 MQ 39 HQ 38
SEEN
echo "as seen"
