"""What every test may ask for."""

import os

# Before torch is imported anywhere: its threads would only wait for each other on a busy two-core machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import platformdirs
import pytest


def missing(part: str, cure: str) -> None:
    """Skip the test for want of a real part; under CI its absence is a failure."""
    message = f"{part} is not here; {cure}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests, which share fixtures, in one process, and all tests with real devices or brokers in one."""
    for item in items:
        group = "real" if item.get_closest_marker("real") else item.nodeid.split("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(autouse=True)
def user_data(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's data, empty: voice profiles and mutes of whoever runs the tests are left alone."""
    folder = tmp_path_factory.mktemp("data")
    for variable in ("XDG_DATA_HOME", "XDG_STATE_HOME"):  # for programs that are started
        monkeypatch.setenv(variable, str(folder))
    for function in ("user_data_path", "user_state_path"):
        monkeypatch.setattr(platformdirs, function, lambda name: folder / name)
    return folder
