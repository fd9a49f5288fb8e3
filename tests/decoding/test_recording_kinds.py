"""Recordings of every kind that people have, made by ffmpeg and sox: all is decoded, or a sentence says what is not."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.decoding.files import read_facts
from streamer.decoding.recording import Recording
from streamer.errors import StreamerError, UsageError
from streamer.sources.demo import DEMO
from tests.support.real_streams import program

pytestmark = pytest.mark.real

RATE_HZ = 24_000
SECONDS = 4.8
MPEG_FRAME = 1_152  # samples, the longest codec frame here but for AAC's and WMA's
LONG_FRAME = 2_048


@pytest.fixture(scope="module")
def ref(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4.8 s of synthetic speech."""
    speech, rate_hz = soundfile.read(DEMO, dtype="float32", frames=round(SECONDS * RATE_HZ))
    assert rate_hz == RATE_HZ
    path = tmp_path_factory.mktemp("recordings") / "ref.wav"
    soundfile.write(path, speech, RATE_HZ, subtype="PCM_16")
    return path


def ffmpeg(*arguments: object) -> None:
    subprocess.run([program("ffmpeg", "ffmpeg"), "-v", "error", "-y", *map(str, arguments)], check=True)


def decode(path: Path, track: int = 0) -> tuple[np.ndarray, Recording]:
    """Read `path` to its end, in a microphone's blocks: [n, channels]."""
    recording = Recording(path, track=track)
    recording.open()
    blocks = [np.zeros((0, recording.channels), np.float32)]
    while (block := recording.read(round(0.02 * recording.rate_hz))) is not None:
        assert block.dtype == np.float32
        blocks.append(block)
    recording.close()
    return np.concatenate(blocks), recording


def ffmpeg_seconds(path: Path) -> float:
    """How much the program ffmpeg decodes."""
    asked = [program("ffmpeg", "ffmpeg"), "-v", "quiet", "-i", path, "-map", "0:a:0", "-ac", "1", "-ar", "48000"]
    done = subprocess.run([*map(str, asked), "-f", "s16le", "-"], capture_output=True, check=True)
    return len(done.stdout) / 2 / 48_000


MOVING = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=4.8")

KINDS = {  # name: ffmpeg's input options before the reference, and its output options
    "memo.m4a": ((), ("-ar", 48_000, "-ac", 2, "-c:a", "aac")),
    "phone.mp4": (MOVING, ("-c:v", "mpeg4", "-c:a", "aac")),
    "phone.mov": (MOVING, ("-c:v", "mpeg4", "-c:a", "aac")),
    "old.3gp": ((), ("-c:a", "aac")),
    "a.mkv": (MOVING, ("-c:v", "mpeg4", "-c:a", "libvorbis")),
    "call.webm": ((), ("-c:a", "libopus")),
    "a.wma": ((), ("-c:a", "wmav2")),
    "a.aac": ((), ("-c:a", "aac")),
    "a.caf": ((), ("-c:a", "alac")),
    "a.opus": ((), ("-c:a", "libopus")),
    "a.ogg": ((), ("-c:a", "libvorbis")),
    "a.mp3": ((), ("-c:a", "libmp3lame")),
    "no-info-frame.mp3": ((), ("-c:a", "libmp3lame", "-q:a", 5, "-write_xing", 0)),
    "a.flac": ((), ("-ar", 48_000, "-ac", 2)),
    "a.aiff": ((), ()),
    "a.w64": ((), ()),
    "rf64.wav": ((), ("-rf64", "always")),
    "u8.wav": ((), ("-c:a", "pcm_u8")),
    "s24.wav": ((), ("-c:a", "pcm_s24le")),
    "f64.wav": ((), ("-c:a", "pcm_f64le")),
    "mulaw.wav": ((), ("-c:a", "pcm_mulaw")),
    "adpcm.wav": ((), ("-c:a", "adpcm_ima_wav")),
    "a.wv": ((), ("-c:a", "wavpack")),
}


@pytest.mark.parametrize("name", KINDS)
def test_as_much_is_decoded_as_ffmpeg_decodes_within_one_codec_frame(ref: Path, tmp_path: Path, name: str) -> None:
    before, after = KINDS[name]
    path = tmp_path / name
    ffmpeg(*before, "-i", ref, *after, path)
    samples, recording = decode(path)
    frame_s = (LONG_FRAME if path.suffix in (".wma", ".wav") else MPEG_FRAME) / recording.rate_hz
    assert len(samples) / recording.rate_hz == pytest.approx(ffmpeg_seconds(path), abs=frame_s)
    assert (recording.problem, recording.notice) == ("", "")
    assert 0.01 < np.sqrt(np.mean(samples**2)) < 0.5


def test_an_amr_recording_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "phone.amr"
    path.write_bytes(b"#!AMR\n" + (b"\x04" + bytes(12)) * 240)  # of 20 ms each, at 4.75 kbit/s
    samples, recording = decode(path)
    assert len(samples) == 240 * 160
    assert (recording.rate_hz, recording.problem) == (8_000, "")


@dataclass(frozen=True)
class Awkward:
    """How a file is made from the reference, what of it is decoded, and what is said."""

    make: Callable[[Path, Path], None]  # (reference, folder) → folder / name
    seconds: float
    problem: str = ""  # a part of the sentence; empty: none


def piped(ref: Path, path: Path, kind: str) -> None:
    """Write what ffmpeg writes into a pipe: it cannot go back to state the length."""
    asked = [program("ffmpeg", "ffmpeg"), "-v", "error", "-i", str(ref), "-f", kind, "-"]
    path.write_bytes(subprocess.run(asked, capture_output=True, check=True).stdout)


def soxed(ref: Path, path: Path) -> None:
    """Write what sox writes into a pipe."""
    raw = soundfile.read(ref, dtype="int16")[0].tobytes()
    asked = [program("sox", "sox"), "-q", "-t", "raw", "-r", "24000", "-e", "signed", "-b", "16", "-c", "1", "-"]
    done = subprocess.run([*asked, "-t", "wav", "-"], input=raw, capture_output=True, check=True)
    path.write_bytes(done.stdout)


def unfinished(ref: Path, path: Path) -> None:
    """A recorder's WAV before it is closed: its header states no data."""
    content = bytearray(ref.read_bytes())
    content[4:8], content[40:44] = (36).to_bytes(4, "little"), bytes(4)
    path.write_bytes(content)


def odd(ref: Path, path: Path) -> None:
    """An odd number of bytes of data, with its pad byte."""
    soundfile.write(path, soundfile.read(ref)[0][:-1], RATE_HZ, subtype="PCM_24")


def loud_first(ref: Path, path: Path) -> None:
    """A VBR MP3 without an info frame: its beginning is no measure of its bit rate."""
    noise = np.random.default_rng(0).normal(0, 0.3, RATE_HZ).clip(-1, 1)
    wav = path.with_suffix(".wav")
    soundfile.write(wav, np.concatenate([noise, soundfile.read(ref)[0]]), RATE_HZ)
    ffmpeg("-i", wav, "-ar", 48_000, "-c:a", "libmp3lame", "-q:a", 5, "-write_xing", 0, path)


def big_cover(ref: Path, path: Path) -> None:
    """An MP3 whose tag holds half a megabyte, without an info frame."""
    ffmpeg("-i", ref, "-c:a", "libmp3lame", "-b:a", "64k", "-write_xing", 0, "-id3v2_version", 0, path)
    path.write_bytes(b"ID3\3\0\0\0\x1f\x7f\x7f" + bytes(524_287) + path.read_bytes())


def joined(*outputs: tuple[object, ...]) -> Callable[[Path, Path], None]:
    """Return what writes the recordings that these output options make, one behind the other."""

    def make(ref: Path, path: Path) -> None:
        pieces = []
        for number, (suffix, *options) in enumerate(outputs):
            piece = path.with_name(f"piece-{number}{suffix}")
            ffmpeg("-i", ref, *options, piece)
            pieces.append(piece.read_bytes())
        path.write_bytes(b"".join(pieces))

    return make


def cut(suffix: str, keep: float, *options: object) -> Callable[[Path, Path], None]:
    """Return what writes only this share of a file's bytes."""

    def make(ref: Path, path: Path) -> None:
        whole = path.with_name(f"whole{suffix}")
        ffmpeg("-i", ref, *options, whole)
        path.write_bytes(whole.read_bytes()[: round(keep * whole.stat().st_size)])

    return make


def followed_by(content: bytes, suffix: str) -> Callable[[Path, Path], None]:
    def make(ref: Path, path: Path) -> None:
        ffmpeg("-i", ref, path.with_name(f"whole{suffix}"))
        path.write_bytes(path.with_name(f"whole{suffix}").read_bytes() + content)

    return make


NOISE = np.random.default_rng(1).bytes(9_000)
WHOLE, TWICE = SECONDS, 2 * SECONDS
CUT = "is damaged or cut short after "
NO_RECORDING = " bytes that cannot be decoded, and all that could be decoded was used"

AWKWARD = {
    "loud-first.mp3": Awkward(loud_first, 5.8),
    "big-cover.mp3": Awkward(big_cover, WHOLE),
    "unknown.flac": Awkward(lambda ref, path: piped(ref, path, "flac"), WHOLE),
    "ffmpeg-pipe.wav": Awkward(lambda ref, path: piped(ref, path, "wav"), WHOLE),
    "sox-pipe.wav": Awkward(soxed, WHOLE),
    "unfinished.wav": Awkward(unfinished, WHOLE),
    "odd.wav": Awkward(odd, WHOLE),
    "joined.mp3": Awkward(joined((".mp3",), (".mp3",)), TWICE),
    "two-rates.mp3": Awkward(joined((".mp3",), (".mp3", "-ar", 48_000)), TWICE),
    "two-rates.wav": Awkward(joined((".wav",), (".wav", "-ar", 48_000)), TWICE),
    "two-rates.flac": Awkward(joined((".flac",), (".flac", "-ar", 48_000, "-ac", 2)), TWICE),
    "two-rates.ogg": Awkward(joined((".ogg",), (".ogg", "-ar", 44_100)), TWICE),
    "two-codecs.ogg": Awkward(joined((".ogg",), (".opus",)), TWICE),
    "joined.m4a": Awkward(joined((".m4a",), (".m4a", "-ar", 48_000)), TWICE),
    "joined.mkv": Awkward(joined((".mkv",), (".mkv", "-ar", 48_000)), TWICE),
    "wav-then-mp3.wav": Awkward(joined((".wav",), (".mp3",)), TWICE),
    "mp3-then-wav.mp3": Awkward(joined((".mp3",), (".wav",)), TWICE),
    "flac-then-mp3.flac": Awkward(joined((".flac",), (".mp3",)), TWICE),
    "m4a-then-mp3.m4a": Awkward(joined((".m4a",), (".mp3",)), TWICE),
    "cut.ogg": Awkward(cut(".ogg", 0.999), 4.0, CUT),
    "cut.mp3": Awkward(cut(".mp3", 0.998, "-write_xing", 0), WHOLE, CUT),
    "cut-at-a-frame.mp3": Awkward(cut(".mp3", 0.5), WHOLE / 2, CUT),
    "cut.flac": Awkward(cut(".flac", 0.6), WHOLE / 2, CUT),
    "cut.wav": Awkward(cut(".wav", 0.5), WHOLE / 2, CUT),
    "cut.aiff": Awkward(cut(".aiff", 0.5), WHOLE / 2, CUT),
    "cut.mkv": Awkward(cut(".mkv", 0.95), 4.4, CUT),
    "cut.m4a": Awkward(cut(".m4a", 0.9, "-movflags", "+faststart"), 4.3, CUT),
    "tagged.mp3": Awkward(followed_by(b"TAG" + bytes(125), ".mp3"), WHOLE),
    "padded.mp3": Awkward(followed_by(bytes(3_000), ".mp3"), WHOLE),
    "then-noise.wav": Awkward(followed_by(NOISE, ".wav"), WHOLE, f"goes on after 4.8 s with 9,000{NO_RECORDING}"),
    "then-noise.m4a": Awkward(followed_by(NOISE, ".m4a"), WHOLE, f"goes on after 4.8 s with 9,000{NO_RECORDING}"),
    "then-noise.mp3": Awkward(followed_by(NOISE, ".mp3"), WHOLE, "is damaged"),
}


@pytest.mark.parametrize("name", AWKWARD)
def test_all_that_is_there_is_decoded_and_what_is_not_is_said(ref: Path, tmp_path: Path, name: str) -> None:
    file, path = AWKWARD[name], tmp_path / name
    file.make(ref, path)
    samples, recording = decode(path)
    assert len(samples) / recording.rate_hz == pytest.approx(file.seconds, abs=0.1 if not file.problem else 0.5)
    if not file.problem:
        assert recording.problem == ""
    else:
        assert recording.problem.startswith(f"'{name}' {file.problem}")
        assert recording.problem.endswith("get a whole copy of it.")
    facts = read_facts(path)
    assert facts.seconds == len(samples) / recording.rate_hz
    assert bool(facts.damage) == bool(file.problem)


def test_the_second_of_two_rates_sounds_like_the_first(ref: Path, tmp_path: Path) -> None:
    path = tmp_path / "two.wav"
    joined((".wav",), (".wav", "-ar", 48_000))(ref, path)
    samples, _ = decode(path)
    first, second = np.split(samples[: round(TWICE * RATE_HZ), 0], 2)
    assert np.corrcoef(first, second)[0, 1] > 0.99


def test_an_mp4_without_its_index_is_refused_in_a_sentence(ref: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.m4a"
    cut(".m4a", 0.5)(ref, path)  # the index is at the end
    with pytest.raises(
        StreamerError, match="is cut short, and what says how to decode it is missing; get a whole copy"
    ):
        decode(path)


def test_an_mp3_without_an_info_frame_is_noted_to_start_late(ref: Path, tmp_path: Path) -> None:
    for name, options in {"with.mp3": (), "without.mp3": ("-write_xing", 0)}.items():
        ffmpeg("-i", ref, *options, tmp_path / name)
    assert read_facts(tmp_path / "with.mp3").note == ""
    assert read_facts(tmp_path / "without.mp3").note == "an MP3 without an info frame: it starts 1,105 samples late"


def test_the_audio_track_can_be_chosen(ref: Path, tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    ffmpeg("-i", ref, "-f", "lavfi", "-i", "sine=440:duration=4.8:sample_rate=24000", "-map", "0", "-map", "1", path)
    speech, _ = decode(path)
    sine, _ = decode(path, track=1)
    assert np.abs(np.fft.rfft(sine[:RATE_HZ, 0])).argmax() == 440
    assert np.abs(np.fft.rfft(speech[:RATE_HZ, 0])).argmax() != 440
    with pytest.raises(UsageError, match="has no audio track 2: it has 2, counted from 0; choose another"):
        decode(path, track=2)


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    ffmpeg(*MOVING, "-c:v", "mpeg4", tmp_path / "mute.mp4")
    with pytest.raises(StreamerError, match="has no audio track"):
        decode(tmp_path / "mute.mp4")


def test_a_playlist_is_no_recording(tmp_path: Path) -> None:
    """FFmpeg would open the addresses in it."""
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(StreamerError, match="is not a recording that FFmpeg or libsndfile reads"):
        decode(playlist)
