#!/usr/bin/env bash
# How ALSA records at a rate that the microphone does not have.
#
# Guess:     `plug` converts rates as any resampler does (alsa-lib's manual, "PCM (digital audio) plugins": channels, rate
#            and format): a microphone of 48 kHz that is opened at 16 kHz gives what is below 8 kHz; the rest is filtered
#            out.
# Behaviour: alsa-lib by itself interpolates, without a filter. What is above the new half rate comes back at full strength
#            at a wrong place: 9 kHz at 7 kHz, 13 kHz at 3 kHz, a sibilant among the formants. The converters with a filter
#            are in another package, libasound2-plugins, which Debian's libasound2 only suggests and libportaudio2 does not
#            name: a small image has none of them, and nothing tells so. Record at the device's own rate.
# Versions:  alsa-utils 1.2.8-1, libasound2 1.2.8-1+b1, libasound2-data 1.2.8-1 (Debian 12, amd64), unpacked into the
#            folder; the microphone is alsa-lib's `file` plugin, which reads a tone of 48 kHz from a file.
# Seen:      6000 Hz: at 16 kHz 6000 Hz, 0 dB
#            9000 Hz: at 16 kHz 7000 Hz, 0 dB
#            13000 Hz: at 16 kHz 3000 Hz, 0 dB
#            20000 Hz: at 16 kHz 4000 Hz, 0 dB
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
apt-get download -qq alsa-utils=1.2.8-1 libasound2=1.2.8-1+b1 libasound2-data=1.2.8-1 2> /dev/null
for package in *.deb; do dpkg --extract "$package" .; done
cat > microphone.conf <<'ALSA'
pcm.null { type null }
pcm.tone { type file slave.pcm null file /dev/null infile tone.raw format raw }
pcm.microphone { type plug slave { pcm tone rate 48000 format S16_LE channels 1 } }
ALSA
export LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu ALSA_PLUGIN_DIR=$folder/usr/lib/x86_64-linux-gnu/alsa-lib
export ALSA_CONFIG_PATH=$folder/microphone.conf
cat > tone.py <<'PYTHON'
import math
import struct
import sys

samples = [round(8_000 * math.sin(2 * math.pi * int(sys.argv[1]) * i / 48_000)) for i in range(3 * 48_000)]
sys.stdout.buffer.write(struct.pack(f"<{len(samples)}h", *samples))
PYTHON
cat > strongest.py <<'PYTHON'
import cmath
import math
import struct
from pathlib import Path

data = Path("heard.raw").read_bytes()
heard = struct.unpack(f"<{len(data) // 2}h", data)[8_000:9_600]  # 0.1 s at 16 kHz


def part(hz: int) -> float:
    return abs(sum(x * cmath.exp(-2j * math.pi * hz * i / 16_000) for i, x in enumerate(heard))) * 2 / len(heard)


strongest = max(range(500, 8_000, 500), key=part)
print(f"at 16 kHz {strongest} Hz, {round(20 * math.log10(part(strongest) / 8_000))} dB")
PYTHON
for hz in 6000 9000 13000 20000; do
    python3 tone.py "$hz" > tone.raw
    usr/bin/arecord --quiet --device=microphone --rate=16000 --format=S16_LE --channels=1 --samples=16000 \
        --file-type=raw heard.raw
    echo "$hz Hz: $(python3 strongest.py)"
done | tee output.txt
diff output.txt - <<'SEEN'
6000 Hz: at 16 kHz 6000 Hz, 0 dB
9000 Hz: at 16 kHz 7000 Hz, 0 dB
13000 Hz: at 16 kHz 3000 Hz, 0 dB
20000 Hz: at 16 kHz 4000 Hz, 0 dB
SEEN
echo "as seen"
