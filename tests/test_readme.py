"""The README's Python examples run as they stand there."""

import re
from pathlib import Path

import pytest

from streamer import Monitor
from streamer.settings import Settings

README = Path(__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_readme_shows_how_to_use_the_library() -> None:
    assert any("from streamer import" in example for example in EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs(example: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened, closed = Monitor.open, []

    def open_demo(*sources: object, mqtt: str = "off", **options: object) -> Monitor:
        """Whatever source an example names, it hears the bundled recording, at once, and publishes nowhere."""
        assert all(isinstance(source, str) for source in sources)
        monitor = opened("demo", mqtt="off", fast=True, settings=Settings())
        closed.append(monitor)
        return monitor

    monkeypatch.setattr(Monitor, "open", open_demo)
    monkeypatch.chdir(tmp_path)
    try:
        exec(compile(example, str(README), "exec"), {"__name__": "example"})
    finally:
        for monitor in closed:
            monitor.stop()
    assert all(monitor.ended.is_set() and monitor.failure is None for monitor in closed)
