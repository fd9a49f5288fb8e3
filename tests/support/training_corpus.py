"""A corpus of tones that stand for voices: small enough to train on within a test."""

from pathlib import Path

import numpy as np
import soundfile

from streamer.constants import SAMPLE_RATE

SPEAKERS = ("01", "02", "03", "04")
EMOTIONS = ("01", "05")  # neutral, angry


def write_corpus(folder: Path, seconds: float = 0.5) -> Path:
    """RAVDESS's names, two emotions, two takes each of four speakers; the angry ones are higher and buzz."""
    folder.mkdir()
    times_s = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    for number, speaker in enumerate(SPEAKERS):
        for emotion in EMOTIONS:
            for take in ("01", "02"):
                pitch_hz = (120 + 20 * number + 5 * int(take)) * (1 if emotion == "01" else 2)
                tone = np.sin(2 * np.pi * pitch_hz * times_s)
                audio = 0.1 * tone if emotion == "01" else 0.1 * np.sign(tone)
                path = folder / f"03-01-{emotion}-01-01-{take}-{speaker}.wav"
                soundfile.write(path, audio, SAMPLE_RATE, subtype="PCM_16")
    return folder
