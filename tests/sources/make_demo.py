"""Make the bundled recording, `streamer/sources/synthetic-speech.ogg`, and its captions beside it.

Run `python -m tests.sources.make_demo streamer/sources/synthetic-speech.ogg`, with flite and espeak-ng installed (both
in Debian). No human speaks in it: six synthesizer voices say made-up sentences in moods, as far as pitch, its range,
pace and loudness can carry a mood; there is a silence, and a melody of plucked strings that is computed here.

flite's voices may be used and distributed without restriction (Carnegie Mellon University); espeak-ng is under the
GPL, which does not extend to what it speaks.

Sentences, voices and settings were chosen before any model heard the recording, and must not be changed because of what
one says about it: it shows what the program does, and not what it does best.
"""

import json
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

PAUSE_S = 0.5
SILENCE_S = 4.0
FLOOR_DBFS = -62.0  # of the faint noise that every room has, under all of it
SPEECH_DBFS = -23.0  # RMS of a sentence of gain 0, its pauses included
LABELS_AS_ADJECTIVES = {"disgust": "disgusted"}


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence and how it is spoken."""

    mood: str  # a label of the model's: as what it is meant
    voice: str  # "flite slt", "espeak-ng en-gb-scotland+f2"
    options: tuple[str, ...]  # of the synthesizer
    gain_db: float
    text: str


def flite(voice: str, mean_hz: int, deviation_hz: int, stretch: float) -> tuple[str, tuple[str, ...]]:
    """Return voice and options: the mean of the pitch, its deviation, and the length of the sounds."""
    named = {"int_f0_target_mean": mean_hz, "int_f0_target_stddev": deviation_hz, "duration_stretch": stretch}
    return f"flite {voice}", tuple(part for name, value in named.items() for part in ("--setf", f"{name}={value}"))


def espeak(voice: str, pitch: int, words_per_minute: int) -> tuple[str, tuple[str, ...]]:
    """Return voice and options: the pitch, 0 to 99, and the pace."""
    return f"espeak-ng {voice}", ("-p", str(pitch), "-s", str(words_per_minute))


PARTS: tuple[Sentence | str, ...] = (
    Sentence("neutral", *flite("slt", 175, 14, 1.0), 0,
             "Hello. This voice comes from a synthesizer. No person says these words."),
    Sentence("neutral", *flite("awb", 120, 12, 1.0), 0,
             "The parcel weighs two kilograms, and it goes out on Tuesday."),
    Sentence("happy", *espeak("en-gb-scotland+f2", 72, 185), 3,
             "Guess what! They said yes, and we leave for the coast today!"),
    Sentence("sad", *flite("slt", 145, 6, 1.35), -7,
             "The garden is empty now. Nobody came back to water it."),
    Sentence("angry", *flite("kal16", 165, 45, 0.85), 7,
             "No! I told you twice to stop. Put it down, right now!"),
    "silence",
    Sentence("calm", *flite("slt", 160, 8, 1.25), -4,
             "Breathe in slowly. The lake is still, and the evening is warm."),
    Sentence("fearful", *espeak("en-gb-x-rp+f5", 82, 215), -2,
             "Did you hear that? Someone is at the door. Please, do not go."),
    Sentence("surprised", *flite("awb", 215, 55, 0.95), 3,
             "Oh! You kept the letter all this time? I had no idea!"),
    Sentence("disgust", *espeak("en-us+m7", 30, 130), 1,
             "Ugh, what is that smell? Who left the fish in the sun?"),
    "melody",
    Sentence("happy", *flite("slt", 245, 50, 0.9), 3,
             "We won by a single point, and the whole street was singing!"),
    Sentence("sad", *espeak("en-us+f4", 24, 108), -7,
             "I wrote to her every week. The letters all came back."),
    Sentence("angry", *flite("awb", 185, 45, 0.82), 7,
             "How dare you! Get out of my house, and do not come back!"),
    Sentence("neutral", *flite("kal16", 105, 10, 1.0), 0,
             "The second train stops at every station except the last."),
)  # fmt: skip


def spoken(sentence: Sentence) -> Samples:
    """Return `sentence` spoken, [n] float32 at 24 kHz, at its loudness."""
    program, _, voice = sentence.voice.partition(" ")
    with tempfile.TemporaryDirectory() as folder:
        wav = str(Path(folder) / "sentence.wav")
        if program == "flite":
            command = ["flite", "-voice", voice, *sentence.options, "-t", sentence.text, "-o", wav]
        else:
            command = ["espeak-ng", "-v", voice, *sentence.options, "-w", wav, sentence.text]
        subprocess.run(command, check=True)
        samples, rate_hz = soundfile.read(wav, dtype="float32")
    resampled: Samples = soxr.resample(samples, rate_hz, SAMPLE_RATE)
    rms = float(np.sqrt(np.mean(np.square(resampled, dtype=np.float64))))
    return resampled * np.float32(10 ** ((SPEECH_DBFS + sentence.gain_db) / 20) / rms)


def melody() -> Samples:
    """Return six seconds of plucked strings, by Karplus and Strong's algorithm (1983): sound in which nobody speaks."""
    rng = np.random.default_rng(7)
    notes_hz = (196.0, 246.9, 293.7, 392.0, 370.0, 293.7, 246.9, 220.0, 196.0, 146.8, 196.0)
    out = np.zeros(round(6.0 * SAMPLE_RATE), dtype=np.float32)
    for index, note_hz in enumerate(notes_hz):
        begin, period = round(0.5 * index * SAMPLE_RATE), round(SAMPLE_RATE / note_hz)
        tone = np.zeros(len(out) - begin)
        tone[:period] = rng.uniform(-0.25, 0.25, period)
        for at in range(period, len(tone)):
            tone[at] = 0.498 * (tone[at - period] + tone[at - period - 1])
        out[begin:] += tone.astype(np.float32)
    return out


def room_noise(length: int) -> Samples:
    """Return faint pink noise."""
    spectrum = np.fft.rfft(np.random.default_rng(3).normal(size=length))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, length)
    return (noise * 10 ** (FLOOR_DBFS / 20) / noise.std()).astype(np.float32)


def make(path: Path) -> None:
    """Write the recording as Ogg Vorbis, and its captions as JSON."""
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE), dtype=np.float32)
    pieces, captions, at = [pause], [], len(pause)
    for part in PARTS:
        if isinstance(part, Sentence):
            samples = spoken(part)
            what = {"mood": part.mood, "voice": part.voice, "text": part.text}
            shown = f"{part.voice}, meant to sound {LABELS_AS_ADJECTIVES.get(part.mood, part.mood)}"
        else:
            samples = melody() if part == "melody" else np.zeros(round(SILENCE_S * SAMPLE_RATE), dtype=np.float32)
            what, shown = {}, "a melody: nobody speaks" if part == "melody" else "nobody speaks"
        begin_s, end_s = at / SAMPLE_RATE, (at + len(samples)) / SAMPLE_RATE
        captions.append({"start_s": round(begin_s, 2), "end_s": round(end_s, 2), "shown": shown} | what)
        pieces += [samples, pause]
        at += len(samples) + len(pause)
    recording = np.concatenate(pieces)
    recording += room_noise(len(recording))
    recording *= min(1.0, 0.95 / float(np.abs(recording).max()))
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, format="OGG", subtype="VORBIS", compression_level=0.7) as file:
        file.title = "Synthetic speech in several moods"
        file.artist = "streamer, spoken by flite and espeak-ng: nobody was recorded"
        file.write(recording)
    path.with_suffix(".json").write_text(json.dumps(captions, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
