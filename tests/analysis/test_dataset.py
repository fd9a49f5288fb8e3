"""What `streamer embed` writes can be read back."""

import csv
import sys

import numpy as np
import pytest

from streamer.analysis.dataset import read_set
from streamer.analysis.discover import find_recordings
from streamer.commands.embed import EmbedOptions, run_embed
from streamer.errors import StreamerError
from tests.analysis.clouds import cloud, write_set
from tests.analysis.embedding import embed
from tests.analysis.made import checkpoint, write


def test_labels_and_metadata_go_with_the_rows(folder, tmp_path):
    written = embed([folder], tmp_path)
    labels = np.load(tmp_path / "labels.npy")
    assert written.embeddings.shape == (10, 128)
    assert labels.tolist() == written.labels == [name.split("/")[1] for name in written.names]
    assert written.speakers == [name.split("/")[0] for name in written.names]
    assert written.names == sorted(written.names)


def test_names_that_a_spreadsheet_would_run_are_written_as_text_and_read_back(tmp_path):
    for name in ("=1+1", "@sum"):
        write(tmp_path / "in" / "-ann" / name / "+1.wav", 0.1)
    written = embed([tmp_path / "in"], tmp_path / "out")
    assert written.names == ["-ann/=1+1/+1.wav", "-ann/@sum/+1.wav"]
    assert (written.labels, written.speakers) == (["=1+1", "@sum"], ["-ann", "-ann"])
    with (tmp_path / "out" / "metadata.csv").open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert "'=1+1" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    again = find_recordings([], tmp_path / "out" / "metadata.csv")
    assert [(r.label, r.speaker) for r in again] == [("=1+1", "-ann"), ("@sum", "-ann")]


def test_statistics_are_printed(folder, tmp_path, capsys):
    embed([folder], tmp_path)
    printed = capsys.readouterr().out
    for word in ("angry", "calm", "norm of a row", "variance explained by label", "by speaker", "10 x 128"):
        assert word in printed


def test_a_parquet_file_holds_everything(folder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    run_embed([folder], tmp_path / "all.parquet", EmbedOptions(model=str(checkpoint()), device="cpu"))
    table = parquet.read_table(tmp_path / "all.parquet").to_pydict()
    written = read_set(tmp_path / "all")
    assert table["label"] == written.labels
    np.testing.assert_array_equal(np.array(table["embedding"], dtype=np.float32), written.embeddings)


def test_frames_count_by_their_mean(tmp_path):
    from streamer.analysis.dataset import read_set

    points, labels, speakers = cloud(each=2)
    frames = read_set(write_set(tmp_path / "frames", points, labels, speakers, rows=3))
    np.testing.assert_allclose(frames.per_recording(), points, rtol=1e-5)


def test_without_pyarrow_the_cure_names_the_command_that_installs_it(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(StreamerError, match=r"install .*\[sessions\]', or give -o a folder"):
        run_embed([folder], tmp_path / "all.parquet", EmbedOptions(model=str(checkpoint()), device="cpu"))
