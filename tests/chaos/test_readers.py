"""Each reader against mutations of what it reads: a value, or one sentence. Never a crash, never a hang.

The seeded part runs in CI; `pytest -m campaign tests/chaos -s` runs ten thousand of each and prints the table.
"""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from streamer.analysis.cache import RowCache
from streamer.analysis.dataset import ARRAYS, METADATA, SETTINGS, read_set
from streamer.analysis.discover import find_recordings
from streamer.config import load
from streamer.decoding.recording import Recording
from streamer.emotion import checkpoint as module
from streamer.emotion.card import card_to_json
from streamer.emotion.checkpoint import load_checkpoint, tensors_digest
from streamer.emotion.model import EmotionDetectionModel
from streamer.emotion.profile import VoiceProfile, load_profile, save_profile
from streamer.sources.demo import DEMO
from tests.chaos.mutations import mutate_bytes, mutate_document, mutate_toml
from tests.chaos.table import SEED, Row

CI = {"config": 400, "checkpoint": 60, "profile": 400, "journal": 300, "set": 150, "table": 200, "audio": 60}
BY_HAND = int(os.environ.get("CHAOS_COUNT", "10000"))
REPOSITORY = Path(__file__).parents[2]

Attempt = Callable[[random.Random], Callable[[], object]]


def configurations(folder: Path) -> Attempt:
    text = (REPOSITORY / "config.toml").read_text(encoding="utf-8")
    path = folder / "config.toml"

    def prepare(rng: random.Random) -> Callable[[], object]:
        path.write_bytes(mutate_toml(text, rng))
        return lambda: load(path)

    return prepare


def checkpoints(folder: Path) -> Attempt:
    """Small tensors of other names: every check but that of the architecture is passed before it is."""
    import torch
    from safetensors.torch import save

    card = json.loads(card_to_json(load_checkpoint("bundled").card))
    tensors = {"a": torch.ones(4, 4), "b": torch.zeros(3), "c": torch.ones(())}
    metadata = {"format": module.FORMAT, "format_version": str(module.FORMAT_VERSION)}
    path = folder / "model.safetensors"

    def prepare(rng: random.Random) -> Callable[[], object]:
        stored = dict(tensors)
        text = json.dumps(card)
        if rng.random() < 0.5:
            text = mutate_document(text.encode(), rng).decode(errors="replace")
        if rng.random() < 0.3:
            kinds = (torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.bool, torch.float16, torch.complex64)
            stored["a"] = torch.ones(rng.choice(((2,), (0, 4), (1, 1, 1)))).to(rng.choice(kinds))
        try:
            digest = tensors_digest(stored)
        except (RuntimeError, TypeError):
            digest = ""
        data = save(stored, metadata | {"card": text, "tensors_sha256": digest})
        path.write_bytes(mutate_bytes(data, rng) if rng.random() < 0.5 else data)
        return lambda: EmotionDetectionModel.from_checkpoint(path)

    return prepare


def profiles(folder: Path) -> Attempt:
    mean = tuple(0.1 for _ in range(128))
    profile = VoiceProfile(1, "desk", "ab12", "2026-11-22T16:30:05Z", 20.0, 80, -30.0, mean, mean)
    path = save_profile(profile)
    text = path.read_bytes()

    def prepare(rng: random.Random) -> Callable[[], object]:
        path.write_bytes(mutate_document(text, rng))
        return lambda: load_profile("desk", "ab12")

    return prepare


def journals(folder: Path) -> Attempt:
    rows = np.ones((5, 128), dtype=np.float32)
    names = [f"{number:064x}" for number in range(4)]
    with RowCache(folder, "k") as cache:
        cache.put((name, [rows]) for name in names)
    journal, text = folder / "k.jsonl", (folder / "k.jsonl").read_bytes()
    data = (folder / "k.rows").read_bytes()

    def prepare(rng: random.Random) -> Callable[[], object]:
        lines = text.splitlines()
        at = rng.randrange(len(lines))
        lines[at] = mutate_document(lines[at], rng) if lines[at].strip() else b"\xff"
        journal.write_bytes(b"\n".join(lines))
        (folder / "k.rows").write_bytes(data)

        def use() -> None:
            with RowCache(folder, "k") as cache:
                cache.forget_damaged(names)
                for name in names:
                    if name in cache:
                        assert all(piece.shape[1] == 128 for piece in cache.pieces(name)), "wrong rows were believed"
                cache.put([("f" * 64, [rows])])

        return use

    return prepare


def sets(folder: Path) -> Attempt:
    np.save(folder / ARRAYS, np.ones((3, 128), dtype=np.float32))
    head = "path,corpus,label,speaker,seconds,sample_rate,channels,first_row,rows,note,sha256"
    lines = [f"{name}.wav,c,happy,c/1,1.5,24000,1,{row},1,,ab" for row, name in enumerate("xyz")]
    (folder / METADATA).write_text("\n".join([head, *lines]) + "\n")
    (folder / SETTINGS).write_text('{"kind": "encoder", "model": "bundled"}')
    files = {name: (folder / name).read_bytes() for name in (ARRAYS, METADATA, SETTINGS)}

    def prepare(rng: random.Random) -> Callable[[], object]:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        name = rng.choice(list(files))
        (folder / name).write_bytes(mutate_bytes(files[name], rng))

        def use() -> None:
            read_set(folder).per_recording()

        return use

    return prepare


def tables(folder: Path) -> Attempt:
    (folder / "x.wav").touch()
    (folder / "loop").symlink_to("loop")
    path = folder / "table.csv"
    text = b"path,label,speaker\nx.wav,happy,1\nloop/y.wav,sad,2\nz.wav,angry,3\n"

    def prepare(rng: random.Random) -> Callable[[], object]:
        path.write_bytes(mutate_bytes(text, rng))
        table = rng.choice((path, path, path, path, folder, folder / "loop", Path("a\0b")))
        return lambda: find_recordings([], table)

    return prepare


def recordings(folder: Path) -> Attempt:
    import io

    import soundfile

    times = np.arange(12_000) / 24_000
    wave = (0.3 * np.sin(2 * np.pi * 220 * times)).astype(np.float32)
    made = []
    for kind, subtype in (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")):
        buffer = io.BytesIO()
        soundfile.write(buffer, wave, 24_000, format=kind, subtype=subtype)
        made.append((kind.lower(), buffer.getvalue()))
    made.append(("ogg", DEMO.read_bytes()[:20_000]))

    def prepare(rng: random.Random) -> Callable[[], object]:
        ending, data = rng.choice(made)
        path = folder / f"talk.{ending}"
        path.write_bytes(mutate_bytes(data, rng))

        def use() -> None:
            recording = Recording(str(path))
            recording.open()
            try:
                for _ in range(2_000):
                    block = recording.read(4_800)
                    if block is None:
                        break
                    assert np.isfinite(block).all() or block.dtype != np.float32
            finally:
                recording.close()

        return use

    return prepare


READERS: dict[str, Callable[[Path], Attempt]] = {
    "config": configurations,
    "checkpoint": checkpoints,
    "profile": profiles,
    "journal": journals,
    "set": sets,
    "table": tables,
    "audio": recordings,
}


def campaign(what: str, count: int, folder: Path) -> None:
    rng = random.Random(f"{SEED} {what}")
    prepare = READERS[what](folder)
    row = Row(what)
    for _ in range(count):
        row.attempt(prepare(rng))
    row.check()


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_config_path", lambda name: tmp_path / "config")


@pytest.mark.slow
@pytest.mark.parametrize("what", READERS)
def test_a_seeded_part_of_the_mutations(what: str, tmp_path: Path) -> None:
    campaign(what, CI[what], tmp_path)


@pytest.mark.campaign
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("what", READERS)
def test_ten_thousand_mutations(what: str, tmp_path: Path) -> None:
    campaign(what, BY_HAND, tmp_path)
