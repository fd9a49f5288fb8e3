"""Recordings are recognised by their first bytes, and found in a file that holds several."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.decoding.containers import Part, find_next, find_parts, needs_seeking, sniff, sniff_stream
from streamer.decoding.frame_headers import mpeg_frame_bytes


def written(kind: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 12_000).astype(np.float32)
    soundfile.write(file, noise, 24_000, format=kind, subtype=subtype)
    return file.getvalue()


KINDS = {
    "WAV": "wav",
    "FLAC": "flac",
    "OGG": "ogg",
    "MP3": "mp3",
    "AIFF": "aiff",
    "CAF": "caf",
    "AU": "au",
    "W64": "wav",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_is_recognised(kind: str) -> None:
    assert sniff_stream(written(kind)[:4_096]) == KINDS[kind]


def test_random_bytes_are_no_recording() -> None:
    heads = [np.random.default_rng(seed).bytes(4_096) for seed in range(3_000)]
    assert [sniff_stream(head) for head in heads] == [""] * 3_000
    assert sniff_stream(b"") == sniff(b"RIFF") == ""


@pytest.mark.parametrize(
    ("header", "length"),
    [
        ("fffb9064", 417),  # MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 144,000 * 128 // 44,100
        ("fff38444", 192),  # MPEG-2 layer III, 64 kbit/s, 24 kHz: 72,000 * 64 // 24,000
        ("fffb9264", 418),  # the first with padding
        ("ffffffff", 0),
        ("fffb0064", 0),  # a rate that the header does not state
        ("00000000", 0),
    ],
)
def test_the_length_of_an_mpeg_frame_follows_from_its_header(header: str, length: int) -> None:
    assert mpeg_frame_bytes(bytes.fromhex(header)) == length


def test_parts_are_found_one_behind_the_other(tmp_path: Path) -> None:
    wav, mp3, ogg = written("WAV", "PCM_16"), written("MP3"), written("OGG")
    path = tmp_path / "all"
    path.write_bytes(wav + ogg + mp3 + wav)
    parts, left = find_parts(path)
    assert [part.kind for part in parts] == ["wav", "ogg", "mp3", "wav"]
    assert [part.size for part in parts] == [len(wav), len(ogg), len(mp3), len(wav)]
    assert (left, any(part.exact or part.cut for part in parts)) == (0, False)


def test_only_a_wav_whose_header_is_true_is_exact(tmp_path: Path) -> None:
    content = written("WAV", "PCM_16")
    cases = {
        "true": content,
        "cut": content[:9_000],
        "odd": content + b"noise" * 2_000,
        "float": written("WAV", "FLOAT"),
    }
    parts = {}
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        parts[name] = find_parts(tmp_path / name)
    assert parts["true"] == ([Part("wav", 0, len(content), exact=True)], 0)
    assert parts["cut"] == ([Part("wav", 0, 9_000, cut=True)], 0)
    assert parts["odd"] == ([Part("wav", 0, len(content))], 10_000)
    assert parts["float"][0][0].exact


def test_chunks_behind_the_stated_end_of_a_wav_belong_to_it(tmp_path: Path) -> None:
    """Tagging programs append covers without correcting the header."""
    content = written("WAV", "PCM_16")
    (tmp_path / "tagged").write_bytes(content + b"id3 \x00\x20\0\0" + bytes(range(256)) * 32)
    (tmp_path / "two").write_bytes(content + content)
    assert find_parts(tmp_path / "tagged") == ([Part("wav", 0, len(content) + 8_200, exact=True)], 0)
    assert [part.size for part in find_parts(tmp_path / "two")[0]] == [len(content)] * 2


def test_a_flac_is_searched_only_from_where_it_ended(tmp_path: Path) -> None:
    flac = written("FLAC")
    path = tmp_path / "two.flac"
    path.write_bytes(flac + flac)
    assert find_parts(path) == ([Part("flac", 0, 2 * len(flac), exact=True)], 0)
    assert find_next(path, len(flac) - 100) == len(flac)
    assert find_next(path, len(flac) + 1) == 2 * len(flac)


def test_an_mp4_with_its_index_at_the_end_needs_seeking() -> None:
    begins = b"\0\0\0\x14ftypisom\0\0\0\0isom"
    assert needs_seeking(begins + b"\0\0\0\x08free\0\1\0\0mdat")
    assert not needs_seeking(begins + b"\0\1\0\0moov")
    assert not needs_seeking(written("WAV"))
