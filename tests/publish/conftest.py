"""A cache folder of their own for the tests of the publishers, and a broker."""

from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from tests.support.real_broker import Mosquitto


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, so that brokers of other programs are not found."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    return tmp_path / "streamer"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A real Mosquitto of the test's own."""
    broker = Mosquitto(tmp_path).start()
    yield broker
    broker.stop()
