"""Embedding is resumable, in bounded memory, and skips recordings that cannot be read."""

import csv
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from streamer.analysis.cache import RowCache
from streamer.analysis.dataset import read_set
from streamer.analysis.discover import Recording, find_recordings
from streamer.analysis.embed import LONG_SAMPLES, Embedded, embed_recordings, plan_batches
from streamer.analysis.embedder import BATCH_SIZES, Embedder
from streamer.analysis.settings import EmbedSettings
from streamer.commands.embed import CACHE_FOLDER, run_embed
from streamer.decoding.files import Facts, UnreadableError, read_facts
from streamer.errors import StreamerError, UsageError
from streamer.folder_claims import claimed_cache
from tests.analysis.embedding import embed
from tests.analysis.made import Watcher, checkpoint, model, sound, write


class Counting(Embedder):
    """Counts what it embeds."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.embedded = 0

    def whole(self, recordings):
        self.embedded += len(recordings)
        return super().whole(recordings)


def test_a_second_run_computes_only_what_is_new_or_changed(tmp_path):
    for number in range(4):
        write(tmp_path / f"{number}.wav", 0.1 + 0.01 * number, seed=number)

    def run():
        embedder = Counting(model(), EmbedSettings())
        with RowCache(tmp_path / "cache", embedder.key) as cache:
            outcome = embed_recordings(find_recordings([tmp_path]), embedder, cache, Watcher())
        return embedder.embedded, outcome.reused

    assert run() == (4, 0)
    assert run() == (0, 4)
    write(tmp_path / "1.wav", 0.1, seed=9)
    (tmp_path / "2.wav").rename(tmp_path / "renamed.wav")
    write(tmp_path / "new.wav", 0.1, seed=10)
    assert run() == (2, 3)


def test_two_programs_do_not_write_one_set(tmp_path):
    write(tmp_path / "a.wav", 0.1, seed=1)
    out = tmp_path / "set"
    with (
        claimed_cache(out / CACHE_FOLDER),
        pytest.raises(UsageError, match="Another `streamer embed` works in"),
    ):
        run_embed([tmp_path / "a.wav"], out)
    run_embed([tmp_path / "a.wav"], out)
    assert read_set(out).embeddings.shape[0] == 1


def test_broken_recordings_are_named_and_what_can_be_read_is_embedded(tmp_path, capsys):
    recordings = tmp_path / "in"
    write(recordings / "good.wav", 0.2)
    write(recordings / "telephone.wav", 0.3, rate=8_000, channels=2)
    for name in ("cut.wav", "cut.flac", "cut.ogg"):
        whole = write(tmp_path / name, 2.0)
        (recordings / name).write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (recordings / "empty.wav").touch()
    (recordings / "text.wav").write_text("no sound at all\n" * 20)
    soundfile.write(recordings / "none.wav", np.zeros(0), 24_000)
    nan = np.array([*[0.1] * 2_399, np.nan], dtype=np.float32)
    soundfile.write(recordings / "nan.wav", nan, 24_000, subtype="FLOAT")
    with pytest.raises(StreamerError, match="6 of 9 recordings could not be read, or not whole") as error:
        embed([recordings], tmp_path / "out")
    assert error.value.exit_code == 1
    written = read_set(tmp_path / "out")
    assert sorted(written.names) == ["cut.flac", "cut.wav", "good.wav", "nan.wav", "telephone.wav"]
    printed = " ".join(capsys.readouterr().err.split())
    for line in (
        "4 of 9 recordings could not be embedded",
        "cut.wav: is damaged or cut short after 1.0 s",
        "cut.flac: is damaged or cut short after",
        "cut.ogg is cut short, and what says how to decode it is missing",
        "empty.wav is empty",
        "text.wav is not a recording",
        "none.wav holds no sound",
        "nan.wav: 1 sample was not a finite number and became 0",
        "telephone.wav: 2 channels were mixed to one; 8,000 Hz: nothing lies above 4,000 Hz",
    ):
        assert line in printed
    with (tmp_path / "out" / "failed.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4


def test_a_second_run_over_broken_recordings_names_them_again(tmp_path, capsys):
    """Nothing is left to embed then but what cannot be read."""
    recordings = tmp_path / "in"
    write(recordings / "good.wav", 0.2)
    whole = write(tmp_path / "cut.wav", 0.4)
    (recordings / "cut.wav").write_bytes(whole.read_bytes()[:10_000])
    (recordings / "text.wav").write_text("no sound at all")
    for _ in range(2):
        with pytest.raises(StreamerError, match="2 of 3 recordings could not be read"):
            embed([recordings], tmp_path / "out")
        printed = " ".join(capsys.readouterr().err.split())
        assert "text.wav is not a recording" in printed
        assert "cut.wav: is damaged or cut short after 0.2 s" in printed


def test_progress_is_complete_where_nothing_of_a_batch_can_be_read(tmp_path, monkeypatch):
    vanishing = write(tmp_path / "vanishing.wav", 0.1)

    def vanished(*_):
        raise UnreadableError("cannot be read")

    monkeypatch.setattr("streamer.analysis.embed.read_whole", vanished)
    embedder, watcher = Embedder(model(), EmbedSettings()), Watcher()
    with RowCache(tmp_path / "rows", embedder.key) as cache:
        outcome = embed_recordings([Recording(vanishing, "vanishing.wav", "", "")], embedder, cache, watcher)
    assert [failure.name for failure in outcome.failures] == ["vanishing.wav"]
    assert watcher.done == pytest.approx(watcher.total)


def test_only_where_nothing_could_be_embedded_it_is_an_error(tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(StreamerError, match="None of the 1 recordings") as error:
        embed([tmp_path], tmp_path / "out")
    assert error.value.exit_code == 1


def test_a_long_recording_is_read_in_blocks_and_never_whole(tmp_path, monkeypatch):
    """What a two-hour file takes: with the limit lowered, for the time of a test."""
    monkeypatch.setattr("streamer.analysis.embed.LONG_SAMPLES", 12_000)
    monkeypatch.setattr("streamer.decoding.files.BLOCK_S", 0.5)
    monkeypatch.setattr("streamer.analysis.embed.read_whole", lambda *_: pytest.fail("it was read whole"))
    path = tmp_path / "long.flac"
    soundfile.write(path, sound(2.5, rate=8_000), 8_000)
    embedder = Embedder(model(), EmbedSettings(pool=None))
    watcher = Watcher()
    with RowCache(tmp_path / "cache", embedder.key) as cache:
        (item,) = embed_recordings([Recording(path, "long", "", "")], embedder, cache, watcher).embedded
        rows = sum(len(piece) for piece in cache.pieces(item.facts.sha256))
    assert rows == 188
    assert watcher.total == pytest.approx(2.5)
    assert watcher.done == pytest.approx(2.5, abs=0.02)
    assert len(watcher.steps) >= 3


def test_a_two_hour_file_is_planned_as_a_stream_of_its_own(tmp_path):
    """Two hours of silence in a few kilobytes."""
    path = tmp_path / "meeting.flac"
    with soundfile.SoundFile(path, "w", 8_000, 1) as file:
        for _ in range(120):
            file.write(np.zeros(60 * 8_000, dtype=np.int16))
    facts = read_facts(path)
    assert facts.seconds == 7_200
    assert facts.samples > LONG_SAMPLES
    short = [Embedded(Recording(path, "", "", ""), Facts(str(n), 24_000, 1, 1.0)) for n in range(3)]
    long = Embedded(Recording(path, "", "", ""), facts)
    assert list(plan_batches([short[0], long, *short[1:]], 8)) == [short, [long]]


def test_batches_keep_to_their_size_and_hold_similar_lengths():
    items = [
        Embedded(Recording(None, "", "", ""), Facts(f"{n:03}", 24_000, 1, seconds))
        for n, seconds in enumerate(np.random.default_rng(0).uniform(0.1, 19, 200))
    ]
    batches = list(plan_batches(items, 8))
    assert sorted(item.facts.sha256 for batch in batches for item in batch) == [item.facts.sha256 for item in items]
    assert {len(batch) for batch in batches} == {8}
    spread = [batch[-1].facts.seconds - batch[0].facts.seconds for batch in batches]
    assert max(spread) < 2.5


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_and_gives_the_same_arrays(folder, tmp_path, monkeypatch):
    """Really killed: a process of its own, and no chance to tidy up."""
    script = (
        "import sys, time, torch\n"
        "from pathlib import Path\n"
        "import streamer.analysis.embed as e, streamer.analysis.embedder\n"
        "from streamer.commands.embed import EmbedOptions, run_embed\n"
        "torch.set_num_threads(1)\n"
        "streamer.analysis.embedder.BATCH_SIZES['cpu'] = 2\n"
        "store = e.RowCache.put\n"
        "def slowly(self, recordings):\n"
        "    store(self, recordings)\n"
        "    print('stored', flush=True)\n"
        "    time.sleep(0.5 if len(self._entries) > 3 else 0)\n"
        "e.RowCache.put = slowly\n"
        "options = EmbedOptions(model=sys.argv[3], frames=True, device='cpu')\n"
        "run_embed([Path(sys.argv[1])], Path(sys.argv[2]), options)\n"
    )
    arguments = [sys.executable, "-W", "ignore", "-c", script, str(folder), str(tmp_path / "killed"), str(checkpoint())]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with process:
        for _ in range(3):
            assert process.stdout.readline() == "stored\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    (journal,) = (tmp_path / "killed" / ".cache").glob("*.jsonl")
    done = len(journal.read_text().splitlines())
    assert done > 0
    assert not (tmp_path / "killed" / "embeddings.npy").exists()
    monkeypatch.setitem(BATCH_SIZES, "cpu", 2)
    resumed = embed([folder], tmp_path / "killed", frames=True)
    fresh = embed([folder], tmp_path / "fresh", frames=True)
    assert resumed.names == fresh.names
    assert np.array_equal(resumed.embeddings, fresh.embeddings)
    assert len(journal.read_text().splitlines()) > done
