#!/usr/bin/env bash
# What is left of a CAF file with Apple Lossless in PyAV.
#
# Guess:     a lossless file comes back sample by sample, whoever wrote it and whoever reads it; a CAF's packet table (Core
#            Audio Format, "Packet Table Chunk") names the valid samples and the padding of the last packet.
# Behaviour: a last packet of n of 4096 samples comes without padding, and FFmpeg takes 4096 - n samples off it even so,
#            where it has as many: half of all lengths lose up to 2048 samples, 0.13 s at 16 kHz. Where n is 4096 libsndfile
#            names a padding of 4096, reads that itself, and FFmpeg refuses the file. Nothing is said of what is missing:
#            compare the samples with the length that the file states.
# Versions:  av 18.1.0 (FFmpeg 8.1.2), soundfile 0.14.0 (libsndfile 1.2.2), numpy 2.4.6, Python 3.11.
# Seen:      10000 samples, 1808 in the last packet: 0 missing at the end
#            10240 samples, 2048 in the last packet: 2048 missing at the end
#            12000 samples, 3808 in the last packet: 288 missing at the end
#            12288 samples, 4096 in the last packet: invalid data
#            16000 samples, 3712 in the last packet: 384 missing at the end
#            48000 samples, 2944 in the last packet: 1152 missing at the end
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 soundfile==0.14.0 numpy==2.4.6
cd "$folder"
cat > lossless.py <<'PYTHON'
import av
import numpy as np
import soundfile


def by_av(name: str) -> np.ndarray | None:
    try:
        with av.open(name) as file:
            return np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    except av.InvalidDataError:
        return None


random = np.random.default_rng(0)
for count in (10_000, 10_240, 12_000, 12_288, 16_000, 48_000):
    written = random.integers(-9_000, 9_000, count, dtype=np.int16)
    soundfile.write("it.caf", written, 16_000, subtype="ALAC_16")
    again, _ = soundfile.read("it.caf", dtype="int16")
    assert np.array_equal(again, written)
    last = (count - 1) % 4096 + 1
    heard = by_av("it.caf")
    if heard is None:
        print(f"{count} samples, {last} in the last packet: invalid data")
    else:
        assert np.array_equal(heard, written[: len(heard)])
        print(f"{count} samples, {last} in the last packet: {count - len(heard)} missing at the end")
PYTHON
venv/bin/python lossless.py | tee output.txt
diff output.txt - <<'SEEN'
10000 samples, 1808 in the last packet: 0 missing at the end
10240 samples, 2048 in the last packet: 2048 missing at the end
12000 samples, 3808 in the last packet: 288 missing at the end
12288 samples, 4096 in the last packet: invalid data
16000 samples, 3712 in the last packet: 384 missing at the end
48000 samples, 2944 in the last packet: 1152 missing at the end
SEEN
echo "as seen"
