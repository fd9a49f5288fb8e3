"""What is said of a settings file that is no TOML: the line, and how it is written."""

from pathlib import Path

import pytest

from streamer.errors import UsageError
from streamer.toml_errors import read_toml


def said(tmp_path: Path, text: str) -> str:
    path = tmp_path / "my.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_toml(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "cure"),
    [
        ("source = mic", 'text needs quotes: source = "mic"'),
        ("source = mic:Yeti # my own", 'text needs quotes: source = "mic:Yeti"'),
        ("hop_s = 0,24", "write a point for the comma: hop_s = 0.24"),
        ("hop_s = 3 s", "hop_s = 3"),
        ("calibration = True", "write calibration = true"),
        ("calibration = off", "write calibration = false"),
        ("source = “mic”", "straight"),
        ('source = "mic', "the quote at the end of the text is missing"),
        ('source = "C:\\Users\\eva"', "single quotes: source = 'C:\\Users\\eva'"),
        ("[window", "a bracket at both ends"),
        ("hop_s", "a key needs a value"),
        ("source =", "a value is missing"),
        ("first = 2", "first stands here twice"),
        ("[audio]", "the table stands here twice"),
    ],
)
def test_a_line_that_is_no_toml_is_shown_with_its_number_and_its_cure(tmp_path: Path, line: str, cure: str) -> None:
    message = said(tmp_path, f"[audio]\nfirst = 1\n{line}\n")
    assert message.startswith(f"{tmp_path / 'my.toml'}: line 3: ")
    assert cure in message
    assert message.endswith(".")


@pytest.mark.parametrize("line", ["password = hunter2", 'password = "hunt"er2', "url = mqtt://eva:hunter2@house"])
def test_no_password_is_quoted(tmp_path: Path, line: str) -> None:
    message = said(tmp_path, f"[mqtt]\n{line}\n")
    assert "line 2" in message
    assert "hunt" not in message
