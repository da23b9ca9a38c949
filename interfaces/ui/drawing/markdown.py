"""What a model wrote, made safe to show.

A model's text is untrusted. Only formatting survives: HTML stays visible as text, and links and
images are not made, so that an answer can neither load anything nor hide where a link leads.
"""

from markdown_it import MarkdownIt
from markupsafe import Markup

NESTING_MAX = 12
_LIVE_RULES = ["image", "link", "autolink", "html_inline", "html_block", "reference"]


def _renderer() -> MarkdownIt:
    parser = MarkdownIt(
        "commonmark", {"html": False, "linkify": False, "breaks": True, "maxNesting": NESTING_MAX}
    )
    return parser.enable("table").disable(_LIVE_RULES)


_MARKDOWN = _renderer()


def formatted(text: str) -> Markup:
    """Paragraphs, lists, tables, emphasis and code of a model's answer."""
    return Markup(_MARKDOWN.render(text))  # noqa: S704 - the parser above escapes all HTML.


def plain(text: str) -> Markup:
    """A person's own words, line by line as typed."""
    return Markup('<div class="cl-plain">{}</div>').format(text)
