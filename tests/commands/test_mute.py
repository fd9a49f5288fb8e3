"""`streamer mute`: the mutes of this user, without a screen."""

import pytest

from streamer.commands.mute import mute
from streamer.errors import UsageError
from streamer.sources.muting import MuteStore


def test_a_stream_is_muted_listed_and_lifted(capsys: pytest.CaptureFixture[str]) -> None:
    mute()
    assert capsys.readouterr().out == "No stream is muted.\n"
    mute("desk")
    assert MuteStore().read("desk").by == "command"
    capsys.readouterr()
    mute()
    assert capsys.readouterr().out.startswith("desk: Muted by `streamer mute`, ")
    mute("desk", lift=True)
    assert MuteStore().names() == frozenset()


@pytest.mark.parametrize(("stream", "lift"), [(None, True), ("../desk", False), ("Desk", False), ("desk", True)])
def test_what_cannot_be_done_is_said_in_one_sentence(stream: str | None, lift: bool) -> None:
    with pytest.raises(UsageError):
        mute(stream, lift)
    assert MuteStore().names() == frozenset()
