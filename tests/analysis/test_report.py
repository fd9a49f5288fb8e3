"""The HTML page escapes its text."""

from streamer.analysis.report import Page
from tests.analysis.clouds import PNG


def test_whatever_a_page_is_given_it_escapes():
    page = Page("<i>", "&")
    page.heading("<script>")
    page.table("<t>", ("<c>",), [["<d>"]])
    page.picture(PNG, '"><script>')
    assert "<script>" not in page.html()
    assert "<d>" not in page.html()
