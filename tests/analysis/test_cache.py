"""The row cache survives half-written lines and damaged rows."""

import os

import numpy as np
import pytest

from streamer.analysis.cache import RowCache
from streamer.errors import StreamerError


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
