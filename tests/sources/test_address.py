"""URLs of network sources: what is opened, what is shown, what stays secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import UsageError
from streamer.sources.address import is_address, parse_address
from streamer.sources.source import PcmFormat


@pytest.mark.parametrize("text", ["rtsp://camera/yard", "http://127.0.0.1:8000/a", "yard.sdp", "http:// broken"])
def test_a_url_and_a_session_description_are_addresses(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize("text", ["mic:Yeti", "talk.wav", r"C:\talks\a.wav", "-", "http:talk"])
def test_other_sources_are_none(text: str) -> None:
    assert not is_address(text)


def test_a_url_is_taken_apart_and_shown_without_credentials_and_query() -> None:
    address = parse_address("RTSP://eva:s3%40t@Cam.local:8554/yard/Audio/?token=abc")
    assert (address.scheme, address.host, address.port) == ("rtsp", "cam.local", 8554)
    assert (address.user, address.password) == ("eva", "s3@t")
    assert address.label == "rtsp://cam.local:8554/yard/Audio"
    assert address.name == "cam-local-yard-audio"
    assert address.open_url() == "rtsp://eva:s3%40t@cam.local:8554/yard/Audio/?token=abc"
    assert not {"eva", "s3@t", "abc"} & set(repr(address).replace("'", " ").split())


def test_ipv6_hosts_keep_their_brackets() -> None:
    address = parse_address("http://[::1]:8000/a")
    assert (address.host, address.label, address.open_url()) == ("::1", "http://[::1]:8000/a", "http://[::1]:8000/a")


def test_a_password_in_the_path_is_hidden_and_still_sent() -> None:
    address = parse_address("rtsp://10.0.0.9/user=admin&password=s3cret&channel=1")
    assert address.label == "rtsp://10.0.0.9/user=admin&password=…&channel=1"
    assert "s3cret" not in address.name
    assert "s3cret" in address.open_url()


def test_the_password_may_come_from_elsewhere() -> None:
    address = parse_address("rtsp://eva@cam/yard")
    assert address.lacks_password
    assert address.with_password("a/b").open_url() == "rtsp://eva:a%2Fb@cam/yard"
    assert not parse_address("rtsp://cam/yard").lacks_password


@given(st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=8))
def test_no_text_keeps_a_password_after_redaction(password: str) -> None:
    address = parse_address("http://eva@cam/yard?key=value-of-the-key").with_password(password)
    for text in (f"cannot open {address.open_url()}", f"password {password}!", f"{address.url}: error"):
        assert password not in address.redact(text)
        assert "value-of-the-key" not in address.redact(text)


def test_raw_pcm_is_described_by_the_query() -> None:
    address = parse_address("tcp://127.0.0.1:5000?format=f32le&rate=48000&channels=2")
    assert address.pcm == PcmFormat("f32le", 48_000, 2)
    assert parse_address("udp://127.0.0.1:5000?rate=16000").pcm == PcmFormat("s16le", 16_000, 1)
    assert parse_address("tcp://127.0.0.1:5000").pcm is None
    assert parse_address("http://127.0.0.1/a?rate=3&format=x").pcm is None


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://eva:pw@host/a", r"There is no way to open ftp:// sources; write one of rtsp, rtsps, http"),
        ("rtsp:///a", r"The rtsp:// URL names no host; write rtsp://HOST:PORT/PATH\."),
        ("http://eva:pw@host:notaport/a", r"The http:// URL cannot be read; write http://HOST:PORT/PATH\."),
        ("udp://eva:pw@host", r"udp://host names no port; write udp://host:PORT\."),
        ("tcp://eva:pw@host:5000?format=s16le", r"tcp://host:5000: raw PCM needs its sample rate; write tcp://.*rate="),
        ("tcp://eva:pw@host:5000?format=mp3&rate=1", r"format=mp3 is not raw PCM; write s16le or f32le\."),
        ("tcp://eva:pw@host:5000?rate=16k", r"rate and channels are whole numbers above zero; write tcp://"),
        ("tcp://eva:pw@host:5000?rate=16000&channels=0", r"whole numbers above zero"),
    ],
)
def test_what_cannot_be_opened_is_refused_in_a_sentence_without_credentials(url: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as error:
        parse_address(url)
    assert "pw" not in str(error.value)
