"""Names reduced for topics."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.names import slugify


@pytest.mark.parametrize(
    ("text", "reduced"),
    [
        ("desk", "desk"),
        ("Küche (Süd)", "kuche-sud"),
        ("a/b+c#d", "a-b-c-d"),
        ("under_score-dash", "under_score-dash"),
        ("日本", "stream"),
        ("", "stream"),
        ("---", "stream"),
    ],
)
def test_a_name_keeps_what_a_topic_allows(text: str, reduced: str) -> None:
    assert slugify(text) == reduced


@given(st.text())
def test_any_text_becomes_a_name_and_a_name_stays_as_it_is(text: str) -> None:
    reduced = slugify(text)
    assert re.fullmatch(r"[a-z0-9_-]+", reduced)
    assert slugify(reduced) == reduced


def test_what_an_empty_name_becomes_can_be_chosen() -> None:
    assert slugify("…", empty="host") == "host"
