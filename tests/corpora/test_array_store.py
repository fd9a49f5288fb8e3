from pathlib import Path

import numpy as np
import pytest

from streamer.corpora.array_store import RaggedStore


def filled(path: Path, count: int = 3) -> RaggedStore:
    store = RaggedStore(path, 4)
    for number in range(count):
        store.append(f"clip {number}", np.full((number + 1, 4), number))
    return store


def test_arrays_come_back_in_this_run_and_the_next(tmp_path: Path) -> None:
    for store in (filled(tmp_path / "deep" / "store"), RaggedStore(tmp_path / "deep" / "store", 4)):
        assert list(store) == ["clip 0", "clip 1", "clip 2"]
        for number in range(3):
            assert store.rows(f"clip {number}") == number + 1
            assert np.array_equal(store[f"clip {number}"], np.full((number + 1, 4), number))


def test_an_array_stays_readable_while_the_store_grows(tmp_path: Path) -> None:
    store = filled(tmp_path / "store", 1)
    first = store["clip 0"]
    store.append("later", np.ones((5, 4)))
    assert np.array_equal(store["later"], np.ones((5, 4)))
    assert np.array_equal(first, np.zeros((1, 4)))


@pytest.mark.parametrize("lost_bytes", [1, 8, 23, 24, 25])
def test_a_write_that_was_cut_off_loses_the_last_array_alone(tmp_path: Path, lost_bytes: int) -> None:
    filled(tmp_path / "store")
    data = tmp_path / "store.bin"
    data.write_bytes(data.read_bytes()[:-lost_bytes])
    store = RaggedStore(tmp_path / "store", 4)
    kept = ["clip 0", "clip 1"] if lost_bytes <= 24 else ["clip 0"]
    assert list(store) == kept
    store.append("new", np.full((2, 4), 9))
    assert np.array_equal(RaggedStore(tmp_path / "store", 4)["new"], np.full((2, 4), 9))


@pytest.mark.parametrize("rest", ["3\tclip", "3", "x\tclip 3\n", "100\tclip 3\n"])
def test_an_index_line_that_was_cut_off_is_forgotten(tmp_path: Path, rest: str) -> None:
    filled(tmp_path / "store")
    with (tmp_path / "store.index").open("a") as stream:
        stream.write(rest)
    assert list(RaggedStore(tmp_path / "store", 4)) == ["clip 0", "clip 1", "clip 2"]
    assert list(filled(tmp_path / "other")) == list(RaggedStore(tmp_path / "store", 4))


@pytest.mark.parametrize(("key", "shape"), [("clip 0", (1, 4)), ("new", (1, 3)), ("new", (0, 4)), ("new", (4,))])
def test_an_array_of_another_shape_or_a_taken_key_is_refused(tmp_path: Path, key: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cannot be stored"):
        filled(tmp_path / "store").append(key, np.zeros(shape))
