"""Audio augmentation: gain, noise, rooms, narrow bands, clipping, speed; and synthetic non-speech sounds.

Every function maps mono float32 `[T]` at 24 kHz to the same, and draws from the generator that is passed: equal seeds
give equal samples.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from streamer.arrays import Samples
from streamer.constants import SAMPLE_RATE
from streamer.corpora.corpus import Clip

Generator = np.random.Generator

NOISE_KINDS = ("white", "pink", "brown")
_SPECTRAL_SLOPE = {"white": 0.0, "pink": -0.5, "brown": -1.0}  # amplitude ~ frequency ** slope


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Probability of each change, and the limits that its strength is drawn between.

    The repr of this class is part of the names of cached files: neither the class nor its fields may be renamed.
    """

    gain_db: tuple[float, float] = (-12.0, 12.0)
    noise: float = 0.6
    snr_db: tuple[float, float] = (3.0, 35.0)
    babble: float = 0.3  # of the noisy ones, where recordings for it are passed
    room: float = 0.3
    band: float = 0.25
    clipping: float = 0.05
    speed: float = 0.8  # of being played faster and higher, or slower and lower
    # Seconds of the recording in one second: pitch and formants move by a third of an octave, as with a vocal tract of
    # another length.
    pace: tuple[float, float] = (0.8, 1.25)

    def __call__(self, audio: Samples, rng: Generator, babble_recordings: tuple[Samples, ...] = ()) -> Samples:
        """Return a changed copy of the same length; babble noise is mixed from `babble_recordings`."""
        if rng.random() < self.room:
            audio = room(audio, rng, decay_s=float(rng.uniform(0.1, 0.7)))
        if rng.random() < self.noise:
            snr_db = float(rng.uniform(*self.snr_db))
            if babble_recordings and rng.random() < self.babble:
                other = babble(babble_recordings, len(audio), rng)
            else:
                other = colored_noise(len(audio), str(rng.choice(NOISE_KINDS)), rng)
            audio = mix(audio, other, snr_db)
        if rng.random() < self.band:
            audio = band_limit(audio, float(rng.uniform(20, 350)), float(rng.choice([3_400, 4_000, 5_500, 7_500])))
        if rng.random() < self.clipping:
            audio = clip(audio, share_of_peak=float(rng.uniform(0.2, 0.7)))
        return gain(audio, float(rng.uniform(*self.gain_db)))


def gain(audio: Samples, gain_db: float) -> Samples:
    """Amplify by `gain_db`, without clipping: a microphone's gain, not a converter's."""
    return (audio * np.float32(10 ** (gain_db / 20))).astype(np.float32)


def rms(audio: Samples) -> float:
    """Return the root mean square; 0 for no samples."""
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))) if len(audio) else 0.0


def mix(audio: Samples, noise: Samples, snr_db: float) -> Samples:
    """Add noise, `snr_db` below the audio by their RMS; audio or noise of zeros is not scaled."""
    level = rms(audio) / max(rms(noise), 1e-9) * 10 ** (-snr_db / 20)
    return (audio + np.float32(level) * noise).astype(np.float32)


def colored_noise(length: int, kind: str, rng: Generator) -> Samples:
    """Return `[length]` white, pink or brown Gaussian noise of RMS 1; below 20 Hz a coloured spectrum is flat.

    Raises:
        KeyError: no such kind.
    """
    slope = _SPECTRAL_SLOPE[kind]
    noise = rng.standard_normal(length)
    if slope and length:
        size = _fast_length(length)
        frequencies = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
        noise = np.fft.irfft(np.fft.rfft(noise, size) * np.maximum(frequencies, 20.0) ** slope, size)[:length]
    return (noise / max(float(np.std(noise)), 1e-9)).astype(np.float32) if length else noise.astype(np.float32)


def babble(recordings: tuple[Samples, ...], length: int, rng: Generator, talkers: int = 5) -> Samples:
    """Return `[length]` a sum of `talkers` recordings at equal level, each from a random place and looped."""
    total = np.zeros(length, dtype=np.float32)
    for _ in range(talkers):
        recording = recordings[rng.integers(len(recordings))]
        if level := rms(recording):
            total += np.resize(np.roll(recording, int(rng.integers(len(recording)))), length) / np.float32(level)
    return total


def room(audio: Samples, rng: Generator, decay_s: float) -> Samples:
    """Add the reverberation of a room that decays by 60 dB in `decay_s`: direct sound and a noisy exponential tail.

    The statistical model of late reverberation: Polack, "La transmission de l'énergie sonore dans les salles", 1988.
    """
    times_s = np.arange(int(decay_s * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(times_s)) * 10 ** (-3 * times_s / decay_s)
    tail[: int(0.002 * SAMPLE_RATE)] = 0  # nothing is nearer than 0.7 m
    direct_to_reverberant_db = float(rng.uniform(0, 10))
    tail *= 10 ** (-direct_to_reverberant_db / 20) / max(float(np.sqrt(np.sum(tail**2))), 1e-9)
    response = np.concatenate([[1.0], tail])
    size = _fast_length(len(audio) + len(response) - 1)
    return np.fft.irfft(np.fft.rfft(audio, size) * np.fft.rfft(response, size), size)[: len(audio)].astype(np.float32)


def band_limit(audio: Samples, low_hz: float, high_hz: float) -> Samples:
    """Keep the band between; the edges roll off over a sixth of an octave. Telephone: 300 to 3,400 Hz."""
    size = _fast_length(len(audio))
    frequencies = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 1e-3)
    octaves_inside = np.minimum(np.log2(frequencies / low_hz), np.log2(high_hz / frequencies))
    response = np.clip(octaves_inside * 6 + 1, 0, 1)
    return np.fft.irfft(np.fft.rfft(audio, size) * response, size)[: len(audio)].astype(np.float32)


def _fast_length(length: int) -> int:
    """Return the least 2^a 3^b 5^c that is `length` or more.

    Fourier transforms of other lengths take up to ten times as long: minutes in all for whole streams.
    """
    fastest = 1 << max(0, length - 1).bit_length()
    for odd in (3**b * 5**c for b in range(21) for c in range(14)):  # more than 2^32 with either
        if odd < fastest:
            fastest = min(fastest, odd << (-(-length // odd) - 1).bit_length())
    return fastest


def clip(audio: Samples, share_of_peak: float) -> Samples:
    """Clip the samples at a share of the peak."""
    limit = float(np.abs(audio).max(initial=0.0)) * share_of_peak
    return np.clip(audio, -limit, limit)


def speed(audio: Samples, factor: float) -> Samples:
    """Play faster, and higher, by `factor`, as a tape would: `[T]` to about `[T / factor]`."""
    return soxr.resample(audio, SAMPLE_RATE * factor, SAMPLE_RATE).astype(np.float32)  # type: ignore[no-any-return]


def silence(length: int, rng: Generator) -> Samples:
    """Return `[length]` a quiet room: faint brown noise between -90 and -60 dBFS."""
    return gain(colored_noise(length, "brown", rng), float(rng.uniform(-90, -60)))


def hum(length: int, rng: Generator) -> Samples:
    """Return `[length]` mains and machines: a low tone with harmonics that fall off, over brown noise."""
    times_s = np.arange(length) / SAMPLE_RATE
    base_hz = float(rng.choice([50, 60, 100, 120, 230]))
    tones = sum(np.sin(2 * np.pi * base_hz * k * times_s + rng.uniform(0, 6.28)) / k for k in range(1, 8))
    return mix(np.asarray(tones, dtype=np.float32), colored_noise(length, "brown", rng), float(rng.uniform(0, 20)))


def buzz(length: int, rng: Generator) -> Samples:
    """`[length]` a shaver, a drill or a faulty lamp: all harmonics of 60 to 400 Hz up to 8 kHz, over white noise."""
    times_s = np.arange(length) / SAMPLE_RATE
    base_hz = float(rng.uniform(60, 400))
    tones = np.zeros(length)
    for k in range(1, int(8000 / base_hz)):
        tones += np.sin(2 * np.pi * base_hz * k * times_s + rng.uniform(0, 6.28))
    return mix(tones.astype(np.float32), colored_noise(length, "white", rng), float(rng.uniform(0, 30)))


def clicks(length: int, rng: Generator) -> Samples:
    """Return `[length]` typing and knocks: short decaying bursts, about five a second."""
    audio = np.zeros(length, dtype=np.float32)
    burst_s = np.arange(int(0.08 * SAMPLE_RATE)) / SAMPLE_RATE
    for place in rng.integers(0, max(length, 1), size=rng.poisson(5 * length / SAMPLE_RATE)):
        burst = rng.standard_normal(len(burst_s)) * np.exp(-burst_s / rng.uniform(0.002, 0.02)) * rng.uniform(0.1, 1)
        end = min(length, int(place) + len(burst))
        audio[place:end] += burst[: end - int(place)].astype(np.float32)
    return audio + gain(colored_noise(length, "pink", rng), -50.0)


def music(length: int, rng: Generator) -> Samples:
    """Return `[length]` a rendered tune: bass, chords and a melody of decaying harmonic tones, over drums of noise."""
    beat = int(SAMPLE_RATE * 60 / rng.uniform(70, 150))
    root_hz = 110 * 2 ** (rng.integers(0, 12) / 12)
    scale = (0, 2, 4, 5, 7, 9, 11) if rng.random() < 0.5 else (0, 2, 3, 5, 7, 8, 10)
    sharpness = float(rng.uniform(0.8, 2.5))
    audio = np.zeros(length + 4 * beat, dtype=np.float32)
    for number, start in enumerate(range(0, length, beat)):
        degree = int(rng.choice([0, 3, 4, 5])) if number % 4 == 0 else 0
        for semitones in (
            -12 + scale[degree],
            *(scale[(degree + k) % 7] + 12 * ((degree + k) // 7) for k in (0, 2, 4)),
        ):
            if number % 4 == 0:
                _note(audio, start, 4 * beat, root_hz * 2 ** (semitones / 12), sharpness, 0.3)
        for half in (0, beat // 2):
            if rng.random() < 0.7:
                semitones = 12 + scale[int(rng.integers(7))]
                _note(audio, start + half, beat, root_hz * 2 ** (semitones / 12), sharpness, 0.5)
        drum_s = np.arange(beat // 4) / SAMPLE_RATE
        audio[start : start + len(drum_s)] += (0.3 * rng.standard_normal(len(drum_s)) * np.exp(-drum_s / 0.03)).astype(
            np.float32
        )
    return audio[:length]


def _note(audio: Samples, start: int, length: int, pitch_hz: float, sharpness: float, level: float) -> None:
    """Add a plucked tone in place, up to the end of the audio."""
    end = min(len(audio), start + length)
    times_s = np.arange(end - start) / SAMPLE_RATE
    harmonics = range(1, min(12, int(SAMPLE_RATE / 2 / pitch_hz)) + 1)
    tone = sum(np.sin(2 * np.pi * pitch_hz * k * times_s) / k**sharpness for k in harmonics)
    envelope = np.minimum(times_s / 0.005, 1) * np.exp(-times_s * 3)
    audio[start:end] += (level * tone * envelope).astype(np.float32)


NON_SPEECH: dict[str, Callable[[int, Generator], Samples]] = {
    "silence": silence,
    "white noise": lambda length, rng: colored_noise(length, "white", rng),
    "pink noise": lambda length, rng: colored_noise(length, "pink", rng),
    "brown noise": lambda length, rng: colored_noise(length, "brown", rng),
    "hum": hum,
    "clicks": clicks,
    "music": music,
}


def non_speech(length: int, rng: Generator) -> Samples:
    """Return `[length]` one of NON_SPEECH, at a level between -70 and -15 dBFS; silence keeps its own."""
    kind = str(rng.choice(list(NON_SPEECH)))
    audio = NON_SPEECH[kind](length, rng)
    if kind == "silence":
        return audio
    audio = gain(audio / np.float32(max(rms(audio), 1e-9)), float(rng.uniform(-70, -15)))
    return np.clip(audio, -1, 1)


def babble_keys(clips: Sequence[Clip]) -> list[str]:
    """Return the keys of some fifty of the clips, to mix babble noise from."""
    return [clip.key for clip in clips[:: max(1, len(clips) // 50)]]


def generator(seed: int, version: int, key: str) -> np.random.Generator:
    """Return a random generator that depends on the seed, the version and the clip's key alone."""
    digest = hashlib.sha256(f"{seed}/{version}/{key}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
