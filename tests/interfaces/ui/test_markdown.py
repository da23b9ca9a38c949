"""What a model wrote is formatting at most, never something a browser would act on."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interfaces.ui.drawing.markdown import formatted, plain
from interfaces.ui.drawing.pieces import Notice, button, notice_html

ALLOWED = {
    "p", "br", "strong", "em", "code", "pre", "ul", "ol", "li", "blockquote", "hr",
    "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "div",
}  # fmt: skip
ATTRIBUTES = {"class", "start", "style"}


class Seen(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize(
    "hostile",
    [
        "<img src=x onerror=alert(1)>",
        "<script>alert(1)</script>",
        "<svg/onload=alert(1)>",
        "[click](javascript:alert(1))",
        "[click](https://evil.example)",
        "![picture](https://evil.example/p.png)",
        "<https://evil.example>",
        "[a]: https://evil.example\n\n[a] ![a]",
        "```<script>\n</code><script>alert(1)</script>\n```",
        '```a" onclick="alert(1)\nx\n```',
        "| a |\n|---|\n| <b onclick=x> |",
        "&lt;script&gt;",
    ],
)
def test_nothing_hostile_survives(hostile: str) -> None:
    seen = Seen(formatted(hostile))
    assert seen.tags <= ALLOWED
    assert seen.attributes <= ATTRIBUTES


@given(
    st.text(alphabet=st.sampled_from("<>&\"'`*_[]()!#|-\\\n\t ab:/=;$\u200b{}~+1."), max_size=200)
)
def test_no_text_makes_another_tag_or_attribute(text: str) -> None:
    seen = Seen(formatted(text))
    assert seen.tags <= ALLOWED
    assert seen.attributes <= ATTRIBUTES
    assert Seen(plain(text)).tags == {"div"}


def test_formatting_that_helps_a_reader_stays() -> None:
    shown = formatted("**bold** and `code`\n\n1. one\n2. two\n\n```python\na < b\n```")
    assert "<strong>bold</strong>" in shown
    assert "<code>code</code>" in shown
    assert "<ol>" in shown
    assert "a &lt; b" in shown


def test_deep_nesting_ends_instead_of_growing() -> None:
    assert len(re.findall("<blockquote>", formatted("> " * 500 + "x"))) < 50


def test_our_own_pieces_escape_what_they_are_given() -> None:
    hostile = '"><img src=x onerror=alert(1)>'
    for shown in (
        button(hostile, hostile, hostile),
        notice_html(Notice(kind="error", text=hostile, actions=((hostile, hostile),))),
    ):
        assert "img" not in Seen(str(shown)).tags
