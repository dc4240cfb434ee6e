"""HTML of a mail, reduced to its text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_SILENT = {"script", "style", "head", "title", "template", "svg", "math", "object"}
_BREAKS = {"br", "hr", "tr", "li"}
_BLOCKS = {
    *("address", "article", "blockquote", "div", "dl", "footer", "form", "h1", "h2", "h3", "h4"),
    *("h5", "h6", "header", "ol", "p", "pre", "section", "table", "ul"),
}
_VOID = {"br", "hr", "img", "input", "meta", "link", "wbr", "col", "area", "base"}
_QUOTES = re.compile(r"gmail_quote|yahoo_quoted|moz-cite-prefix|OutlookMessageHeader|divRplyFwdMsg")
_DEEPEST = 500
_MOST_MARKUP, _MOST = 1_000_000, 100_000
_NO_TEXT = (
    re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL),
    re.compile(r"<(script|style)\b.*?(?:</\1[^>]*>?|\Z)", re.DOTALL | re.IGNORECASE),
)
_LONG_TAG = re.compile(r"<[A-Za-z/!?][^>]{2000,}(?:>|\Z)")
"""Comments, what no reader sees, and what is far too long for a tag, as far as each goes: for what
has no end the library looks again and again."""


def text_of(html: str) -> str:
    """What a reader sees, without what is quoted as another mail."""
    html = html[:_MOST_MARKUP]
    for each in _NO_TEXT:
        html = each.sub("", html)
    html = _LONG_TAG.sub("", html[:_MOST])
    reader = _Reader()
    try:
        reader.feed(html)
        reader.close()
    except (AssertionError, ValueError):  # of the parser, at odd declarations
        pass
    lines = (re.sub(r"[ \t\xa0]+", " ", line).strip() for line in "".join(reader.said).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _Reader(HTMLParser):
    """Gathers text; below some elements there is none."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.said: list[str] = []
        self._open: list[tuple[str, bool]] = []
        """Which elements are open, and whether each silences what is in it."""
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _BREAKS or tag in _BLOCKS:
            self.said.append("\n")
        if tag in _VOID or len(self._open) >= _DEEPEST:
            return
        silences = tag in _SILENT or _is_quote(tag, dict(attrs))
        self._open.append((tag, silences))
        self._silent += silences

    def handle_endtag(self, tag: str) -> None:
        """What was left open inside is closed with it; what was never open is not."""
        if not any(tag == each for each, _ in self._open):
            return
        while self._open:
            name, silences = self._open.pop()
            self._silent -= silences
            if name == tag:
                break
        if tag in _BLOCKS:
            self.said.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.said.append(re.sub(r"\s+", " ", data))


def _is_quote(tag: str, given: dict[str, str | None]) -> bool:
    if tag == "blockquote" and (given.get("type") or "").lower() == "cite":
        return True
    return bool(_QUOTES.search(f"{given.get('class') or ''} {given.get('id') or ''}"))
