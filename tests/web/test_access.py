"""Who may look, and where the token comes from."""

from pathlib import Path

import platformdirs
import pytest

from streamer.commands.settings_check import refused
from streamer.errors import UsageError
from streamer.publish.listen import Listen
from streamer.settings import Settings
from streamer.web.access import choose_access

LOOPBACK, NETWORK = Listen("127.0.0.1", 8780), Listen("0.0.0.0", 8780)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(platformdirs, "user_state_path", lambda name: tmp_path / name)
    return tmp_path / "streamer"


def test_on_loopback_no_token_is_needed() -> None:
    assert choose_access(LOOPBACK, False, "").token == ""


def test_the_network_is_opened_only_where_that_was_asked_for() -> None:
    with pytest.raises(UsageError, match="--open-to-network"):
        choose_access(NETWORK, False, "")


def test_a_token_is_made_once_kept_and_readable_by_its_owner_alone(state: Path) -> None:
    token = choose_access(NETWORK, True, "").token
    assert len(token) >= 32
    assert choose_access(NETWORK, True, "").token == token
    assert (state / "web-token").stat().st_mode & 0o077 == 0


def test_a_token_of_one_s_own_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("correct horse battery\n")
    assert choose_access(LOOPBACK, True, str(tmp_path / "token")).token == "correct horse battery"


@pytest.mark.parametrize("text", ["short", ""])
def test_a_token_that_can_be_guessed_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(UsageError, match=r"web\.token_file"):
        choose_access(NETWORK, True, str(tmp_path / "token"))


def test_the_token_is_in_no_message() -> None:
    access = choose_access(NETWORK, True, "")
    assert access.token not in repr(access)


def test_the_check_of_a_file_says_that_an_address_needs_permission() -> None:
    settings = Settings(web={"listen": "0.0.0.0:8780"}, mqtt={"url": "off"})
    (sentence,) = refused(settings)
    assert sentence.startswith("[web] 0.0.0.0:8780 is reached from the network")
