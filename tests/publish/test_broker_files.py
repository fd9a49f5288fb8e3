"""Finding the embedded broker of another program by the files that brokers write."""

import json
import os
import socket
from pathlib import Path

import pytest

from streamer.publish.broker_files import find_broker
from tests.publish.embedded import port_of, publish_one, started
from tests.support.real_broker import free_port


def test_the_newest_broker_that_answers_is_found(cache: Path) -> None:
    assert find_broker() is None
    with started() as older:
        assert find_broker() == older.url
        with started() as newer:
            for file in (cache / "brokers").iterdir():  # both may have been written within one tick of the file system
                age_s = 0 if str(port_of(newer)) in file.name else 60
                os.utime(file, (1e9 - age_s, 1e9 - age_s))
            assert find_broker() == newer.url
        assert find_broker() == older.url
    assert find_broker() is None
    assert list((cache / "brokers").iterdir()) == []


def write_broker_file(cache: Path, text: str) -> Path:
    file = cache / "brokers" / "1-1.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_the_file_of_a_killed_broker_is_ignored_and_then_removed(cache: Path) -> None:
    file = write_broker_file(cache, json.dumps({"url": f"mqtt://127.0.0.1:{free_port()}", "pid": 1}))
    assert find_broker() is None
    with started():
        assert not file.exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"pid": 1}', '{"url": 1}', '{"url": "http://x"}', "\xff"])
def test_a_damaged_file_is_ignored(cache: Path, text: str) -> None:
    write_broker_file(cache, text)
    assert find_broker() is None


def test_another_program_on_the_port_of_a_killed_broker_is_not_taken_for_one(cache: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        write_broker_file(cache, json.dumps({"url": f"mqtt://127.0.0.1:{server.getsockname()[1]}", "pid": 1}))
        assert find_broker() is None


def test_without_a_cache_folder_it_works_all_the_same(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with started() as broker:
        publish_one(broker.url)
        assert find_broker() is None
