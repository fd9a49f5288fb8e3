"""Join the clips of one speaker into a stream whose emotion changes: the unit of training and of evaluation.

A clip begins and ends with one emotion; a live stream does not. Here clips lose the silence around them and follow one
another with pauses of their own background noise, as in one long recording.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streamer.arrays import Float64Array, Samples
from streamer.constants import SAMPLE_RATE
from streamer.corpora.augment import Generator, generator, rms
from streamer.corpora.corpus import Clip

OPENING_S = 20.0  # of neutral speech, before the first emotion
EMOTION_S = 9.0  # of each emotion
NEUTRAL_S = 8.0  # of neutral speech after it
PAUSE_S = (0.25, 0.6)  # between two clips

_FRAME = SAMPLE_RATE // 50  # 20 ms
_BELOW_LOUDEST_DB = 35.0  # outer frames that are quieter than this below the clip's loudest are silence
_MARGIN = SAMPLE_RATE // 20  # 50 ms of silence stay at either end
_FLOOR_S = 0.12  # the quietest part of a clip: its background noise
_FADE = SAMPLE_RATE // 100  # 10 ms, over which a clip and a pause fade into each other


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a stream with one emotion."""

    label: str
    begin: int  # samples from the stream's begin
    end: int


@dataclass(frozen=True, slots=True)
class JoinedStream:
    """One speaker's clips, joined."""

    speaker_id: str
    samples: Samples  # [T] at 24 kHz
    stretches: tuple[Stretch, ...]  # one after the other, from the first sample to the last
    voiced: tuple[tuple[int, int], ...]  # of each clip: its first sample, and the one after its last

    def coverage(self, begin: int, end: int) -> dict[str, float]:
        """Return the share of the window [begin, end) that each label covers."""
        covered: dict[str, float] = {}
        for stretch in self.stretches:
            common = min(end, stretch.end) - max(begin, stretch.begin)
            if common > 0:
                covered[stretch.label] = covered.get(stretch.label, 0.0) + common / (end - begin)
        return covered

    def label(self, begin: int, end: int, least: float = 2 / 3) -> str | None:
        """Return the label that covers at least a share `least` of the window [begin, end); None: no label does."""
        label, share = max(self.coverage(begin, end).items(), key=lambda item: item[1], default=("", 0.0))
        return label if share >= least else None


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch to be filled with clips."""

    label: str
    least_s: float  # the stretch ends with the clip that reaches it


def evaluation_turns(labels: Sequence[str], rng: Generator) -> list[Turn]:
    """Return the turns of a stream for evaluation: neutral speech, and then each emotion with neutral speech after it.

    Args:
        labels: of the speaker's clips; without `neutral`, `calm` stands for it, and without both the emotions follow
            each other.
        rng: draws the order of the emotions.
    """
    rest = next((label for label in ("neutral", "calm") if label in labels), None)
    emotions = [label for label in labels if label != rest]
    turns = [Turn(rest, OPENING_S)] if rest else []
    for place in rng.permutation(len(emotions)):
        turns.append(Turn(emotions[place], EMOTION_S))
        turns += [Turn(rest, NEUTRAL_S)] if rest else []
    return turns


def training_turns(clips: Sequence[Clip], rng: Generator, stretch_s: tuple[float, float] = (3.0, 12.0)) -> list[Turn]:
    """Return turns that use every clip of a speaker about once: emotions in random order, neutral speech in between.

    Neutral speech comes before two emotions in three, as often as that needs, so that histories hold as much of it as
    those of a live stream.
    """
    budget_s = {label: 2.3 * sum(clip.label == label for clip in clips) for label in sorted({c.label for c in clips})}
    emotions = [label for label in budget_s if label != "neutral"]
    turns: list[Turn] = []
    while emotions:
        label = emotions[rng.integers(len(emotions))]
        if "neutral" in budget_s and rng.random() < 2 / 3:
            turns.append(Turn("neutral", float(rng.uniform(*stretch_s))))
        turns.append(Turn(label, float(rng.uniform(*stretch_s))))
        budget_s[label] -= turns[-1].least_s
        emotions = [label for label in emotions if budget_s[label] > 0]
    return turns or [Turn("neutral", budget_s.get("neutral", 0.0))]


def join_clips(
    clips: Sequence[Clip], audio: Mapping[str, Samples], turns: Sequence[Turn], rng: Generator
) -> JoinedStream:
    """Join clips of one speaker, turn by turn; within a label every clip is used before one is used again.

    Args:
        clips: of one speaker.
        audio: the recordings by the clips' keys, each `[T]` at 24 kHz.
        turns: what to speak; those of a label without a clip are left out.
        rng: draws the clips and the pauses.

    Raises:
        ValueError: the clips are of several speakers, or none is of a turn's label.
    """
    speakers = {clip.speaker_id for clip in clips}
    if len(speakers) != 1:
        raise ValueError(f"A stream is of one speaker, not of {len(speakers)}.")
    decks = {
        label: _shuffled([clip for clip in clips if clip.label == label], rng)
        for label in sorted({clip.label for clip in clips})
    }
    parts: list[Samples] = []
    stretches: list[Stretch] = []
    voiced: list[tuple[int, int]] = []
    length = 0
    for turn in turns:
        begin = length
        while turn.label in decks and (length - begin) < turn.least_s * SAMPLE_RATE:
            clip = trim(audio[next(decks[turn.label]).key])
            voiced.append((length, length + len(clip)))
            parts += [clip, background(clip, round(float(rng.uniform(*PAUSE_S)) * SAMPLE_RATE), rng)]
            length += len(clip) + len(parts[-1])
        if length > begin:
            stretches.append(Stretch(turn.label, begin, length))
    if not parts:
        raise ValueError("No clip has the label of any turn.")
    return JoinedStream(speakers.pop(), crossfaded(parts), tuple(stretches), tuple(voiced))


def trim(audio: Samples) -> Samples:
    """Cut the silence before and after the speech in a clip `[T]`, up to 50 ms of it; what is all alike stays whole."""
    count = len(audio) // _FRAME
    if not count:
        return audio
    level_db = _levels_db(audio[: count * _FRAME].reshape(count, _FRAME))
    loud = np.flatnonzero(level_db >= level_db.max() - _BELOW_LOUDEST_DB)
    begin = max(0, int(loud[0]) * _FRAME - _MARGIN)
    return audio[begin : (int(loud[-1]) + 1) * _FRAME + _MARGIN]


def background(audio: Samples, length: int, rng: Generator) -> Samples:
    """Return `[length]` noise with the spectrum and the level of the quietest tenth of a second in `audio`."""
    size = min(len(audio), round(_FLOOR_S * SAMPLE_RATE))
    starts = range(0, len(audio) - size + 1, _FRAME)
    quietest = min((audio[start : start + size] for start in starts), key=rms, default=audio)
    level = rms(quietest)
    if not level:
        return np.zeros(length, dtype=np.float32)
    points = length + size - 1
    spectrum = np.abs(np.fft.rfft(quietest * np.hanning(len(quietest)), points))
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(points)) * spectrum, points)[:length]
    return (noise * (level / max(rms(noise.astype(np.float32)), 1e-12))).astype(np.float32)


def crossfaded(parts: Sequence[Samples]) -> Samples:
    """Join parts without clicks: each fades in and out at its ends, in place of a jump. The length is their sum."""
    faded = []
    for part in parts:
        fade = min(_FADE, len(part) // 2)
        ramp = np.linspace(0, 1, fade, endpoint=False, dtype=np.float32)
        envelope = np.concatenate([ramp, np.ones(len(part) - 2 * fade, dtype=np.float32), ramp[::-1]])
        faded.append(part * envelope)
    return np.concatenate(faded)


def _levels_db(frames: Samples) -> Float64Array:
    """Return the level `[N]` of frames `[N, S]` in dBFS."""
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    levels: Float64Array = 10 * np.log10(power + 1e-12)
    return levels


def _shuffled(clips: Sequence[Clip], rng: Generator) -> Iterator[Clip]:
    """Yield the clips in random order for ever, each round in a new one."""
    while clips:
        for place in rng.permutation(len(clips)):
            yield clips[place]


def evaluation_streams(
    clips: Sequence[Clip], audio: Mapping[str, Samples], per_speaker: int, seed: int
) -> list[JoinedStream]:
    """Return `per_speaker` streams of each speaker among `clips`, with the turns of `evaluation_turns`."""
    by_speaker: dict[str, list[Clip]] = {}
    for clip in clips:
        by_speaker.setdefault(clip.speaker_id, []).append(clip)
    streams = []
    for speaker, own in sorted(by_speaker.items()):
        labels = sorted({clip.label for clip in own})
        for number in range(per_speaker):
            rng = generator(seed, number, f"stream of {speaker}")
            streams.append(join_clips(own, audio, evaluation_turns(labels, rng), rng))
    return streams


def followed_by(first: JoinedStream, second: JoinedStream) -> JoinedStream:
    """Return one recording of two speakers, of which only what the second one says has labels."""
    moved = len(first.samples)
    return JoinedStream(
        second.speaker_id,
        np.concatenate([first.samples, second.samples]),
        tuple(Stretch(one.label, one.begin + moved, one.end + moved) for one in second.stretches),
        tuple((begin + moved, end + moved) for begin, end in second.voiced),
    )
