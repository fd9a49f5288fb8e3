#!/usr/bin/env bash
# Which network a file of the silero-vad wheel holds.
#
# Guess:     the wheel's TorchScript file and its safetensors file are two formats of one network.
# Behaviour: they hold the same layers with other weights. Of the fifteen tensors of the safetensors file (16 kHz) only the
#            fixed Fourier basis is, byte for byte, in the TorchScript file; convolutions, LSTM and output layer differ.
#            Whoever rebuilds the network has to read the file that his figures were taken with.
# Versions:  silero-vad 6.2.3, Python 3.11.
# Seen:      the same bytes in both files: stft_conv.weight
#            other weights: 14 of 15
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m pip download --quiet --no-deps silero-vad==6.2.3
cat > compare.py <<'PYTHON'
import io
import json
import struct
import zipfile
from pathlib import Path

wheel = zipfile.ZipFile(next(Path().glob("silero_vad-*.whl")))
tensors = wheel.read("silero_vad/data/silero_vad_16k.safetensors")
script = zipfile.ZipFile(io.BytesIO(wheel.read("silero_vad/data/silero_vad.jit")))
stored = {script.read(name) for name in script.namelist()}
(length,) = struct.unpack("<Q", tensors[:8])
header, values = json.loads(tensors[8 : 8 + length]), tensors[8 + length :]
header.pop("__metadata__", None)
same = [name for name, entry in header.items() if values[slice(*entry["data_offsets"])] in stored]
print("the same bytes in both files:", ", ".join(same))
print(f"other weights: {len(header) - len(same)} of {len(header)}")
PYTHON
python3 compare.py | tee output.txt
diff output.txt - <<'SEEN'
the same bytes in both files: stft_conv.weight
other weights: 14 of 15
SEEN
echo "as seen"
