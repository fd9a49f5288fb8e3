"""Text from outside, made safe to show."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.plain_text import plain, printable, sentence, without_credentials

HOSTILE = "\x1b]0;owned\x07\x1b[2J[@click=app.quit]x[/] \u202egnp.exe \x9b31m z" + "\u0301" * 40


@given(st.text())
def test_no_terminal_obeys_what_is_left(text: str) -> None:
    for shown in (printable(text), plain(text)):
        assert shown.isprintable()
        assert all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    assert len(printable(text)) == len(text), "nothing moves in a table"


@pytest.mark.parametrize("text", ["Blue Yeti", "Küche (Süd)", "마이크", "e\u0301", "नमस्ते"])
def test_honest_names_stay(text: str) -> None:
    assert printable(text) == plain(text) == text


def test_hostile_text_is_one_short_line() -> None:
    shown = plain(HOSTILE)
    assert "\x1b" not in shown
    assert "\n" not in plain("a\nb\r\u2028c")
    assert shown.count("\u0301") == 2
    assert len(plain("x" * 1_000_000)) == 300


@pytest.mark.parametrize(
    "text",
    [
        "mqtt://me:s3cret@host:1883",
        "rtsp:/me:s3cret@camera/yard is no file",
        "me:s3cret@host",
        "'mqtts://me:a:s3cret@b@host'",
        "https://host/x?password=s3cret",
        "prefix mqtt://me:s3cret@host cannot be used",
    ],
)
def test_no_password_is_left(text: str) -> None:
    for shown in (without_credentials(text), sentence(text)):
        assert "s3cret" not in shown
        assert "…" in shown


@pytest.mark.parametrize("text", ["at 12:30 from a@b.example", "C:\\audio\\talk.wav", "host:1883 refuses", "1:2:3"])
def test_what_holds_no_password_stays(text: str) -> None:
    assert without_credentials(text) == text


def test_long_text_costs_no_time() -> None:
    assert len(sentence(":" * 1_000_000)) < 10_000


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("write tcp://10.0.0.7:5000?format=s16le&rate=16000.", "write tcp://10.0.0.7:5000?format=s16le&rate=16000."),
        ("tcp://host:5000?format=s16le", "tcp://host:5000?format=s16le"),
        ("tcp://host:5000?format=s16le&key=abc", "tcp://host:5000?…"),
        ("https://host/a?token=abc&rate=16000", "https://host/a?…"),
        ("https://host/a?rate=abc/def", "https://host/a?…"),
    ],
)
def test_the_format_of_raw_pcm_is_no_secret(text: str, shown: str) -> None:
    assert without_credentials(text) == shown
