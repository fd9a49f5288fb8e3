"""Retained messages: the newest of each topic, sent once, and all again when they may have been lost."""

from streamer.publish.retained import RetainedMessages


def taken(messages: RetainedMessages) -> list[tuple[str, str]]:
    found = []
    while (message := messages.take()) is not None:
        found.append(message)
    return found


def test_what_changed_is_taken_once_and_only_the_newest() -> None:
    messages = RetainedMessages()
    assert messages.put("a", "1")
    assert messages.put("b", "1")
    assert messages.put("a", "2")
    assert not messages.put("b", "1")
    assert taken(messages) == [("a", "2"), ("b", "1")]
    assert taken(messages) == []


def test_all_or_some_are_sent_again_when_they_may_have_been_lost() -> None:
    messages = RetainedMessages()
    messages.put("home/a", "1")
    messages.put("b", "")
    taken(messages)
    messages.repeat("home/")
    assert taken(messages) == [("home/a", "1")]
    messages.repeat()
    assert taken(messages) == [("home/a", "1"), ("b", "")]
    messages.cleared("home/a")  # it was set meanwhile
    messages.cleared("b")
    messages.repeat()
    assert taken(messages) == [("home/a", "1")]
    messages.clear()
    messages.repeat()
    assert taken(messages) == []
