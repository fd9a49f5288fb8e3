"""Synthesise the bundled recording, `streamer/sources/synthetic-speech.ogg`.

Run `python -m tests.sources.synthetic_speech synthetic-speech.ogg`, with espeak-ng installed. It holds no human voice:
a synthesiser speaks made-up sentences in several moods, as far as pitch, its range, pace, loudness and voice can
carry a mood.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from streamer.arrays import Samples
from streamer.constants import SAMPLE_RATE

PAUSE_S = 0.45
ESPEAK_FULL_LOUDNESS = 100  # -a 100 is espeak-ng's normal loudness


@dataclass(frozen=True, slots=True)
class Utterance:
    """A sentence and how it is spoken."""

    mood: str
    voice: str
    pitch: int  # espeak-ng's -p, 0 to 99
    pitch_range: str  # SSML, relative to the voice's own
    words_per_minute: int
    loudness: int  # espeak-ng's -a, 0 to 200
    text: str


UTTERANCES = (
    Utterance("neutral", "en-us+m3", 42, "70%", 160, 90,
              "The parcel weighs two kilograms and goes out on Tuesday."),
    Utterance("happy", "en-gb+f2", 72, "180%", 185, 130,
              "Guess what! They said yes, and we leave for the coast today!"),
    Utterance("sad", "en-us+f4", 24, "35%", 108, 55,
              "The garden is empty now. Nobody came back to water it."),
    Utterance("angry", "en-gb+m7", 58, "160%", 205, 190,
              "No! I told you twice to stop. Put it down, right now!"),
    Utterance("calm", "en-us+f3", 36, "60%", 125, 75,
              "Breathe in slowly. The lake is still, and the evening is warm."),
    Utterance("fearful", "en-gb+f5", 82, "120%", 215, 80,
              "Did you hear that? Someone is at the door. Please, do not go."),
    Utterance("surprised", "en-us+m1", 76, "220%", 170, 135,
              "Oh! You kept the letter all this time? I had no idea!"),
    Utterance("disgusted", "en-gb+m4", 30, "130%", 130, 115,
              "Ugh, what is that smell? Who left the fish in the sun?"),
    Utterance("happy", "en-us+m2", 64, "190%", 190, 130,
              "We won by a single point, and the whole street was singing!"),
    Utterance("neutral", "en-gb+f3", 46, "75%", 155, 90,
              "The second train stops at every station except the last."),
)  # fmt: skip


def speak(utterance: Utterance) -> Samples:
    """Return `utterance` spoken, [n] float32 at 24 kHz."""
    ssml = f'<speak><prosody range="{utterance.pitch_range}">{utterance.text}</prosody></speak>'
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "utterance.wav"
        subprocess.run(
            ["espeak-ng", "-m", "-v", utterance.voice, "-p", str(utterance.pitch), "-a", str(utterance.loudness),
             "-s", str(utterance.words_per_minute), "-w", str(wav), ssml],
            check=True,
        )  # fmt: skip
        samples, rate_hz = soundfile.read(wav, dtype="float32")
    resampled: Samples = soxr.resample(samples, rate_hz, SAMPLE_RATE)
    return resampled


def make(path: str | Path) -> None:
    """Write the whole recording as Ogg Vorbis."""
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE), dtype=np.float32)
    speech = np.concatenate([part for utterance in UTTERANCES for part in (speak(utterance), pause)])
    speech *= 0.9 / np.abs(speech).max()
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, format="OGG", subtype="VORBIS", compression_level=0.6) as file:
        file.title = "Synthetic speech in several moods"
        file.artist = "streamer, spoken by espeak-ng: no human voice"
        file.write(speech)


if __name__ == "__main__":
    make(sys.argv[1])
