#!/usr/bin/env bash
# What openSMILE's eGeMAPS set measures in one sound at several sampling rates.
#
# Guess:     the set's filters are given in Hz and end at 8 kHz, its frames are given in ms (Eyben et al. 2016, "The Geneva
#            Minimalistic Acoustic Parameter Set"; openSMILE's own configuration of it): what has nothing above 8 kHz
#            measures the same at 16 kHz and at any higher rate, and resampling upwards is harmless.
# Behaviour: only the level does. Loudness and spectral flux grow with the samples in a frame: at twice the rate loudness
#            is 1.58-fold (4 to the power of 0.33, as if the power of a frame were not divided by its length). The first
#            formant moves by a fifth; jitter and the mean length of a voiced segment double, not in the order of the rates.
#            A corpus of several rates, one a speaker or an emotion, is told apart by that alone: bring everything to one
#            rate before openSMILE sees it, and name that rate with the results.
# Versions:  opensmile 2.6.0, soxr 1.1.0, soundfile 0.14.0, numpy 2.4.6, Python 3.11; 20 s of speech at 16 kHz out of the
#            tests of silero-vad 6.2.3.
# Seen:      16000 Hz: level -23.9 dB, loudness 0.52, flux 0.21, F1 620 Hz, jitter 0.018, voiced for 0.26 s
#            22050 Hz: level -23.9 dB, loudness 0.58, flux 0.29, F1 510 Hz, jitter 0.027, voiced for 0.34 s
#            24000 Hz: level -23.9 dB, loudness 0.59, flux 0.31, F1 530 Hz, jitter 0.026, voiced for 0.36 s
#            32000 Hz: level -23.9 dB, loudness 0.82, flux 0.42, F1 620 Hz, jitter 0.023, voiced for 0.33 s
#            44100 Hz: level -23.9 dB, loudness 0.91, flux 0.57, F1 500 Hz, jitter 0.034, voiced for 0.51 s
#            48000 Hz: level -23.9 dB, loudness 0.94, flux 0.62, F1 540 Hz, jitter 0.035, voiced for 0.47 s
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opensmile==2.6.0 soxr==1.1.0 soundfile==0.14.0 numpy==2.4.6
cd "$folder"
venv/bin/pip download --quiet --no-deps --no-binary silero-vad silero-vad==6.2.3
tar --extract --file silero_vad-6.2.3.tar.gz --strip-components=3 silero_vad-6.2.3/tests/data/test.wav
cat > rates.py <<'PYTHON'
import warnings

import opensmile
import soundfile
import soxr

warnings.simplefilter("ignore")
speech, rate_hz = soundfile.read("test.wav", frames=20 * 16_000, dtype="float32")
assert rate_hz == 16_000
smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
for hz in (16_000, 22_050, 24_000, 32_000, 44_100, 48_000):
    same = speech if hz == rate_hz else soxr.resample(speech, rate_hz, hz, quality="VHQ")
    found = smile.process_signal(same, hz).iloc[0]
    print(
        f"{hz} Hz: level {found['equivalentSoundLevel_dBp']:.1f} dB, loudness {found['loudness_sma3_amean']:.2f}, "
        f"flux {found['spectralFlux_sma3_amean']:.2f}, F1 {round(found['F1frequency_sma3nz_amean'], -1):.0f} Hz, "
        f"jitter {found['jitterLocal_sma3nz_amean']:.3f}, voiced for {found['MeanVoicedSegmentLengthSec']:.2f} s"
    )
PYTHON
venv/bin/python rates.py | tee output.txt
diff output.txt - <<'SEEN'
16000 Hz: level -23.9 dB, loudness 0.52, flux 0.21, F1 620 Hz, jitter 0.018, voiced for 0.26 s
22050 Hz: level -23.9 dB, loudness 0.58, flux 0.29, F1 510 Hz, jitter 0.027, voiced for 0.34 s
24000 Hz: level -23.9 dB, loudness 0.59, flux 0.31, F1 530 Hz, jitter 0.026, voiced for 0.36 s
32000 Hz: level -23.9 dB, loudness 0.82, flux 0.42, F1 620 Hz, jitter 0.023, voiced for 0.33 s
44100 Hz: level -23.9 dB, loudness 0.91, flux 0.57, F1 500 Hz, jitter 0.034, voiced for 0.51 s
48000 Hz: level -23.9 dB, loudness 0.94, flux 0.62, F1 540 Hz, jitter 0.035, voiced for 0.47 s
SEEN
echo "as seen"
