#!/usr/bin/env bash
# Up to which pitch silero-vad hears a voice.
#
# Guess:     what is speech does not hang on its pitch: the same words in a higher voice are still speech, at least as high
#            as screams, laughter and sopranos go.
# Behaviour: there is an edge. Of speech whose pitch alone is raised (WORLD: same words, formants and level) nine tenths of
#            the voiced windows are found up to a median of 450 Hz, one tenth at 500 Hz and none from 550 Hz on. WebRTC's
#            detector, in its strictest mode, finds as much as before. Whoever looks for screams behind this gate gets to
#            see none; a pitch tracker beside it helps.
# Versions:  silero-vad 6.2.3 (silero_vad.onnx and 20 s of its tests' recording, 16 kHz; windows of 512 samples behind the
#            64 before, as its OnnxWrapper has it), onnxruntime 1.32.0, pyworld 0.3.5, webrtcvad-wheels 2.0.14.post1,
#            soundfile 0.14.0, numpy 2.4.6, Python 3.11.
# Seen:      median pitch, and the share of the voiced windows that is found
#            200 Hz: silero 1.0, webrtc 1.0
#            300 Hz: silero 1.0, webrtc 1.0
#            400 Hz: silero 0.9, webrtc 0.9
#            450 Hz: silero 0.9, webrtc 0.9
#            500 Hz: silero 0.1, webrtc 0.9
#            550 Hz: silero 0.0, webrtc 0.9
#            700 Hz: silero 0.0, webrtc 0.9
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet \
    onnxruntime==1.32.0 pyworld==0.3.5 webrtcvad-wheels==2.0.14.post1 soundfile==0.14.0 numpy==2.4.6
cd "$folder"
venv/bin/pip download --quiet --no-deps --no-binary silero-vad silero-vad==6.2.3
tar --extract --file silero_vad-6.2.3.tar.gz --strip-components=1
cat > pitch.py <<'PYTHON'
from pathlib import Path

import numpy as np
import onnxruntime
import pyworld
import soundfile
import webrtcvad

RATE, WINDOW, BEFORE = 16_000, 512, 64
onnxruntime.set_default_logger_severity(3)
(network,) = Path().glob("src/silero_vad/data/silero_vad.onnx")
silero = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])


def by_silero(audio: np.ndarray) -> np.ndarray:
    state, before, speech = np.zeros((2, 1, 128), np.float32), np.zeros(BEFORE, np.float32), []
    for start in range(0, len(audio) - WINDOW + 1, WINDOW):
        window = audio[start : start + WINDOW].astype(np.float32)
        inputs = {"input": np.concatenate([before, window])[None], "state": state, "sr": np.array(RATE)}
        (probability,), state = silero.run(None, inputs)
        before = window[-BEFORE:]
        speech.append(probability[0] > 0.5)
    return np.array(speech)


def by_webrtc(audio: np.ndarray) -> np.ndarray:
    detector, size = webrtcvad.Vad(3), RATE * 30 // 1000
    pcm = (np.clip(audio, -1, 1) * 32767).astype(np.int16)
    return np.array([detector.is_speech(pcm[i : i + size].tobytes(), RATE) for i in range(0, len(pcm) - size, size)])


speech, _ = soundfile.read("tests/data/test.wav", frames=20 * RATE)
pitch_hz, times_s = pyworld.harvest(speech, RATE)
formants = pyworld.cheaptrick(speech, pitch_hz, times_s, RATE)
noise = pyworld.d4c(speech, pitch_hz, times_s, RATE)
median_hz = np.median(pitch_hz[pitch_hz > 0])


def share(found: np.ndarray) -> float:
    """The part of the voiced windows that was found."""
    middles_s = (np.arange(len(found)) + 0.5) * 20 / len(found)
    return found[np.interp(middles_s, times_s, pitch_hz > 0) > 0.5].mean()


for wanted_hz in (200, 300, 400, 450, 500, 550, 700):
    audio = pyworld.synthesize(pitch_hz * wanted_hz / median_hz, formants, noise, RATE)
    audio *= 0.08 / audio.std()
    print(f"{wanted_hz} Hz: silero {share(by_silero(audio)):.1f}, webrtc {share(by_webrtc(audio)):.1f}")
PYTHON
venv/bin/python pitch.py | tee output.txt
diff output.txt - <<'SEEN'
200 Hz: silero 1.0, webrtc 1.0
300 Hz: silero 1.0, webrtc 1.0
400 Hz: silero 0.9, webrtc 0.9
450 Hz: silero 0.9, webrtc 0.9
500 Hz: silero 0.1, webrtc 0.9
550 Hz: silero 0.0, webrtc 0.9
700 Hz: silero 0.0, webrtc 0.9
SEEN
echo "as seen"
