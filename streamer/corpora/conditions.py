"""Give a whole stream one recording condition: room, noise, telephone, band, codec, level."""

from collections.abc import Sequence

from streamer.arrays import Samples
from streamer.corpora.augment import NOISE_KINDS, Generator, babble, band_limit, colored_noise, gain, mix, room
from streamer.corpora.codecs import random_codec, random_telephone

_ROOM, _NOISE, _BABBLE = 0.4, 0.6, 0.25  # probabilities; babble is a share of the noisy streams
_TELEPHONE, _BAND, _CODEC = 0.25, 0.15, 0.2  # at most one of them
_TELEPHONE_BAND_HZ = (300.0, 3400.0)
_DECAY_S = (0.1, 0.7)
_SNR_DB = (5.0, 40.0)
_GAIN_DB = (-20.0, 6.0)


def recorded_otherwise(audio: Samples, rng: Generator, talkers: Sequence[Samples]) -> Samples:
    """Return a stream `[T]` as another microphone in another place would have recorded it; `talkers` babble."""
    if rng.random() < _ROOM:
        audio = room(audio, rng, decay_s=float(rng.uniform(*_DECAY_S)))
    if rng.random() < _NOISE:
        if talkers and rng.random() < _BABBLE:
            noise = babble(tuple(talkers), len(audio), rng)
        else:
            noise = colored_noise(len(audio), str(rng.choice(NOISE_KINDS)), rng)
        audio = mix(audio, noise, float(rng.uniform(*_SNR_DB)))
    draw = float(rng.random())
    if draw < _TELEPHONE:
        audio = random_telephone(band_limit(audio, *_TELEPHONE_BAND_HZ), rng)
    elif draw < _TELEPHONE + _BAND:
        audio = band_limit(audio, float(rng.uniform(20, 350)), float(rng.choice([4_000, 5_500, 7_500])))
    elif draw < _TELEPHONE + _BAND + _CODEC:
        audio = random_codec(audio, rng)
    return gain(audio, float(rng.uniform(*_GAIN_DB)))
