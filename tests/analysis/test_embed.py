"""From recordings to arrays: the right numbers, past what is broken, and on from where it was killed."""

import csv
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import torch

from streamer.analysis.cache import RowCache
from streamer.analysis.dataset import read_set
from streamer.analysis.discover import Recording, find_recordings
from streamer.analysis.embed import LONG_SAMPLES, Embedded, embed_recordings, plan_batches
from streamer.analysis.embedder import BATCH_SIZES, Embedder, EmbedSettings
from streamer.audio.files import Facts, read_facts, read_strict, read_strict_blocks
from streamer.commands.embed import run_embed
from streamer.errors import StreamerError, UsageError
from tests.analysis.made import Watcher, checkpoint, model, sound, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten recordings of eight lengths, two speakers, two labels."""
    root = tmp_path_factory.mktemp("recordings")
    for number in range(10):
        label = "calm" if number % 2 else "angry"
        speaker = "ann" if number < 5 else "bob"
        write(root / speaker / label / f"{number}.wav", 0.05 + 0.06 * min(number, 7), seed=number)
    return root


def embed(paths, out, weights=None, **options):
    run_embed(paths, out, model=str(weights or checkpoint()), device="cpu", **options)
    return read_set(out)


def test_each_recording_has_its_own_offline_embedding(folder, tmp_path):
    """Batches of unequal lengths, each clip mirrored at its own end."""
    written = embed([folder], tmp_path, frames=True, level=False)
    for name, first, rows in zip(written.names, written.first_rows, written.rows, strict=True):
        samples, _ = soundfile.read(folder / name, dtype="float32")
        with torch.no_grad():
            expected = model().encoder(torch.from_numpy(samples)[None, None])[0].T.numpy()  # [F, 128]
        assert len(expected) == rows
        np.testing.assert_allclose(written.embeddings[first : first + rows], expected, rtol=1e-5, atol=1e-5)


def test_levelled_embeddings_are_those_of_the_model(folder, tmp_path):
    """A checkpoint of this program gets the level normaliser that it was trained behind, unless told otherwise."""
    from streamer import EmotionDetectionModel

    written = embed([folder], tmp_path, frames=True)
    whole = EmotionDetectionModel.from_checkpoint(checkpoint())
    last = len(written.names) - 1
    samples, _ = soundfile.read(folder / written.names[last], dtype="float32")
    with torch.no_grad():
        expected = whole.get_embeddings(torch.from_numpy(samples)[None, None])[0].T.numpy()
    np.testing.assert_allclose(written.embeddings[written.first_rows[last] :], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("pool", "width"), [("mean", 128), ("max", 128), ("attention", 128), ("learned", 256), ("multi", 384)]
)
@pytest.mark.parametrize("rate", [24_000, 16_000])
def test_a_recording_gives_the_same_row_whether_read_whole_or_streamed(tmp_path, pool, width, rate):
    path = write(tmp_path / "a.wav", 0.7, rate=rate, channels=2)
    facts = read_facts(path)
    embedder = Embedder(model(), EmbedSettings(pool=pool, level=True))
    (whole,) = embedder.whole([read_strict(path, facts)])
    pieces = [piece for block in read_strict_blocks(path, facts) for piece in np.array_split(block, 9)]
    streamed = np.concatenate(list(embedder.streamed(pieces)))
    assert whole.shape == streamed.shape == (1, width)
    np.testing.assert_allclose(streamed, whole, rtol=1e-5, atol=1e-5)


def test_labels_and_metadata_go_with_the_rows(folder, tmp_path):
    written = embed([folder], tmp_path)
    labels = np.load(tmp_path / "labels.npy")
    assert written.embeddings.shape == (10, 128)
    assert labels.tolist() == written.labels == [name.split("/")[1] for name in written.names]
    assert written.speakers == [name.split("/")[0] for name in written.names]
    assert written.names == sorted(written.names)


def test_statistics_are_printed(folder, tmp_path, capsys):
    embed([folder], tmp_path)
    told = capsys.readouterr().out
    for word in ("angry", "calm", "norm of a row", "variance explained by label", "by speaker", "10 x 128"):
        assert word in told


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


def test_other_settings_do_not_share_a_cache():
    keys = [
        Embedder(model(), EmbedSettings(pool=pool, level=level)).key
        for pool in ("mean", None)
        for level in (True, False)
    ]
    assert len(set(keys)) == 4


def test_broken_recordings_are_named_and_the_others_kept(tmp_path, capsys):
    recordings = tmp_path / "in"
    write(recordings / "good.wav", 0.2)
    write(recordings / "telephone.wav", 0.3, rate=8_000, channels=2)
    for name in ("cut.wav", "cut.flac", "cut.ogg"):
        whole = write(tmp_path / name, 2.0)
        (recordings / name).write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (recordings / "empty.wav").touch()
    (recordings / "text.wav").write_text("no sound at all\n" * 20)
    soundfile.write(recordings / "none.wav", np.zeros(0), 24_000)
    soundfile.write(recordings / "nan.wav", np.full(2_400, np.nan, dtype=np.float32), 24_000, subtype="FLOAT")
    written = embed([recordings], tmp_path / "out")
    assert written.names == ["good.wav", "telephone.wav"]
    told = " ".join(capsys.readouterr().err.split())
    for line in (
        "7 of 9 recordings could not be embedded",
        "cut.wav is truncated",
        "cut.flac is damaged or truncated",
        "cut.ogg is truncated",
        "empty.wav is empty",
        "text.wav is not audio",
        "none.wav holds no sound",
        "nan.wav holds samples that are not numbers",
        "telephone.wav: 2 channels were mixed to one; 8,000 Hz: nothing lies above 4,000 Hz",
    ):
        assert line in told
    with (tmp_path / "out" / "failed.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 7


def test_a_second_run_over_broken_recordings_names_them_again(tmp_path, capsys):
    """Nothing is left to embed then but what cannot be read."""
    recordings = tmp_path / "in"
    write(recordings / "good.wav", 0.2)
    soundfile.write(recordings / "nan.wav", np.full(2_400, np.nan, dtype=np.float32), 24_000, subtype="FLOAT")
    for _ in range(2):
        written = embed([recordings], tmp_path / "out")
        assert written.names == ["good.wav"]
        assert "nan.wav holds samples that are not numbers" in " ".join(capsys.readouterr().err.split())


def test_progress_is_complete_where_nothing_of_a_batch_can_be_read(tmp_path):
    broken = tmp_path / "nan.wav"
    soundfile.write(broken, np.full(2_400, np.nan, dtype=np.float32), 24_000, subtype="FLOAT")
    embedder, watcher = Embedder(model(), EmbedSettings()), Watcher()
    with RowCache(tmp_path / "rows", embedder.key) as cache:
        outcome = embed_recordings([Recording(broken, "nan.wav", "", "")], embedder, cache, watcher)
    assert [failure.name for failure in outcome.failures] == ["nan.wav"]
    assert watcher.done == pytest.approx(watcher.total)


def test_only_where_nothing_could_be_embedded_it_is_an_error(tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(StreamerError, match="None of the 1 recordings") as error:
        embed([tmp_path], tmp_path / "out")
    assert error.value.exit_code == 1


def test_a_long_recording_is_read_in_blocks_and_never_whole(tmp_path, monkeypatch):
    """What a two-hour file takes: with the limit lowered, for the time of a test."""
    monkeypatch.setattr("streamer.analysis.embed.LONG_SAMPLES", 12_000)
    monkeypatch.setattr("streamer.audio.files.BLOCK_S", 1)
    monkeypatch.setattr("streamer.analysis.embed.read_strict", lambda *_: pytest.fail("it was read whole"))
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


def test_header_and_table_of_a_two_hour_file_cost_nothing(tmp_path):
    """Two hours of silence in a few kilobytes: planned as a stream of its own, without being read."""
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


def test_a_run_that_was_killed_goes_on_and_gives_the_same_arrays(folder, tmp_path, monkeypatch):
    """Really killed: a process of its own, and no chance to tidy up."""
    script = (
        "import sys, time, torch\n"
        "from pathlib import Path\n"
        "import streamer.analysis.embed as e, streamer.analysis.embedder\n"
        "from streamer.commands.embed import run_embed\n"
        "torch.set_num_threads(1)\n"
        "streamer.analysis.embedder.BATCH_SIZES['cpu'] = 2\n"
        "store = e.RowCache.put\n"
        "def slowly(self, recordings):\n"
        "    store(self, recordings)\n"
        "    print('stored', flush=True)\n"
        "    time.sleep(0.5 if len(self._entries) > 3 else 0)\n"
        "e.RowCache.put = slowly\n"
        "run_embed([Path(sys.argv[1])], Path(sys.argv[2]), model=sys.argv[3], frames=True, device='cpu')\n"
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


@pytest.fixture(scope="session")
def encodec_file(tmp_path_factory):
    """Weights of a whole EnCodec model, with codebooks, as its package saves them."""
    from streamer.codec import import_encodec

    torch.manual_seed(3)
    model = import_encodec().EncodecModel.encodec_model_24khz(pretrained=False)
    for layer in model.quantizer.vq.layers:
        layer._codebook.embed.copy_(0.05 * torch.randn(layer._codebook.embed.shape))
    path = tmp_path_factory.mktemp("encodec") / "encodec.th"
    torch.save(model.state_dict(), path)
    return path, model.requires_grad_(False)


def test_codes_and_what_they_keep_are_those_of_encodec(folder, tmp_path, encodec_file):
    path, encodec = encodec_file
    codes = embed([folder], tmp_path / "codes", path, kind="codes", bandwidth=3.0)
    kept = embed([folder], tmp_path / "kept", path, kind="quantized", bandwidth=3.0, frames=True)
    assert codes.embeddings.dtype == np.int16
    assert codes.embeddings.shape[1] == 4
    samples, _ = soundfile.read(folder / codes.names[-1], dtype="float32")
    encodec.set_target_bandwidth(3.0)
    [(expected, _)] = encodec.encode(torch.from_numpy(samples)[None, None])
    assert np.array_equal(codes.embeddings[codes.first_rows[-1] :], expected[0].T.numpy())
    decoded = encodec.quantizer.decode(expected.transpose(0, 1))[0].T.numpy()
    np.testing.assert_allclose(kept.embeddings[kept.first_rows[-1] :], decoded, rtol=1e-5, atol=1e-5)
    assert kept.about["level"] is False


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"kind": "codes"}, "--model pretrained"),
        ({"kind": "codes", "pool": "mean"}, "cannot be pooled"),
        ({"bandwidth": 6.0}, "--bandwidth is for"),
        ({"pool": "median"}, "mean, max, attention, learned, multi"),
        ({"pool": "mean", "frames": True}, "one of the two"),
    ],
)
def test_options_that_do_not_fit_are_refused_with_the_cure(folder, tmp_path, options, cure):
    with pytest.raises(UsageError, match=cure):
        embed([folder], tmp_path, **options)


def test_a_parquet_file_holds_everything(folder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    run_embed([folder], tmp_path / "all.parquet", model=str(checkpoint()), device="cpu")
    table = parquet.read_table(tmp_path / "all.parquet").to_pydict()
    written = read_set(tmp_path / "all")
    assert table["label"] == written.labels
    np.testing.assert_array_equal(np.array(table["embedding"], dtype=np.float32), written.embeddings)


def test_half_a_journal_line_and_spoiled_rows_are_computed_anew(tmp_path):
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    with RowCache(tmp_path, "k") as cache:
        cache.put([("first", [rows]), ("second", [rows + 1, rows + 2])])
    journal, data = tmp_path / "k.jsonl", tmp_path / "k.rows"
    with journal.open("a") as file:
        file.write('{"sha256": "third", "off')
    with data.open("r+b") as file:
        file.write(os.urandom(8))
    with RowCache(tmp_path, "k") as cache:
        cache.forget_damaged(["first", "second", "third"])
        assert "first" not in cache
        assert "third" not in cache
        cache.put([("first", [rows])])
    with RowCache(tmp_path, "k") as cache:
        assert np.array_equal(np.concatenate(list(cache.pieces("first"))), rows)
        assert np.array_equal(np.concatenate(list(cache.pieces("second"))), np.concatenate([rows + 1, rows + 2]))


def test_rows_of_a_recording_that_breaks_off_are_not_stored(tmp_path):
    def broken():
        yield np.zeros((2, 4), dtype=np.float32)
        raise StreamerError("is damaged")

    with RowCache(tmp_path, "k") as cache:
        with pytest.raises(StreamerError):
            cache.put([("a", broken())])
        cache.put([("b", [np.ones((1, 4), dtype=np.float32)])])
        assert "a" not in cache
        assert np.concatenate(list(cache.pieces("b"))).tolist() == [[1.0] * 4]
    assert (tmp_path / "k.rows").stat().st_size == 16
