"""What an HTML body says, for readers without HTML."""

import re
from html.parser import HTMLParser

__all__ = ["looks_like_html", "text_of"]

#: Not those that people write as placeholders: <title>, <address>, <link>, <code>.
HTML = re.compile(
    r"<(?:!doctype|html|head|meta|style|body|div|span|section|article|p|pre|blockquote|br|hr|a|b|i|u|em|strong|small|big"
    r"|sub|sup|strike|font|center|table|tbody|tr|t[dh]|ul|ol|li|d[ltd]|h[1-6]|img)(?:\s[^<>]*|/)?>",
    re.IGNORECASE,
)

#: Around the number of a placeholder while HTML is read; no text may hold these two (Unicode 23.7, noncharacters).
OPEN, CLOSE = "\ufdd0", "\ufdd1"
KEPT = re.compile(f"{OPEN}(\\d+){CLOSE}")

#: What nobody sees: mails fill up with it what an inbox shows of their beginning.
UNSEEN = "\u00ad\u034f\u200b\u200c\u200d\u2060\ufeff"

#: A `<` that ends in no tag. The parser would look for its end up to the end of the text, and so for each of them.
UNCLOSED = re.compile(r"<(?![^<>]*>)")


def looks_like_html(text: str) -> bool:
    """Tell whether a body is meant as HTML: it has at least one tag that mails use."""
    return HTML.search(text) is not None


def text_of(html: str, keep: re.Pattern[str] | None = None) -> str:
    """Return what an HTML body says. What matches `keep`, such as placeholders, is taken over as it stands."""
    kept: list[str] = []

    def token(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"{OPEN}{len(kept) - 1}{CLOSE}"

    html = html.replace(OPEN, "").replace(CLOSE, "")
    if keep is not None:
        html = keep.sub(token, html)
    reader = _Reader()
    reader.feed(UNCLOSED.sub("&lt;", _without_comments(html)))
    reader.close()
    lines = (" ".join(filter(_is_seen, line.split())) for line in "".join(reader.pieces).split("\n"))
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return KEPT.sub(lambda match: kept[int(match[1])], text)


def _is_seen(word: str) -> bool:
    return bool(word.strip(UNSEEN))


def _without_comments(html: str) -> str:
    pieces = []
    at = 0
    while (begin := html.find("<!--", at)) >= 0 and (end := html.find("-->", begin)) >= 0:
        pieces.append(html[at:begin])
        at = end + 3
    return "".join([*pieces, html[at:]])


class _Reader(HTMLParser):
    """Collects what an HTML body says."""

    SILENT = frozenset({"script", "style", "title"})
    LINES = frozenset(
        {"address", "article", "aside", "caption", "center", "dd", "div", "dt", "figcaption", "footer", "form",
         "header", "hr", "li", "main", "nav", "section", "tr"}
    )  # fmt: skip
    LISTS = frozenset({"ol", "ul"})
    PARAGRAPHS = LISTS | {"blockquote", "dl", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "p", "pre", "table"}

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._silent = False
        self._link: tuple[str, int] = ("", 0)
        #: Whether the line, or the item of a list, has nothing in it yet.
        self._is_new_line, self._is_new_item = True, False
        #: How many lists, and texts whose lines count, are open.
        self._lists = self._pres = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a line, a link, or something that nobody reads."""
        known = dict(attrs)
        self._silent = tag in self.SILENT
        if tag == "a":
            self._link = (known.get("href") or "", len(self.pieces))
        elif tag == "img":
            self._say(known.get("alt") or "")
        elif tag == "br":
            self._end_line()
        elif tag in {"td", "th"}:
            self._say(" ")
        elif tag == "li":
            self._is_new_item = False
            self._break(tag)
            self.pieces.append("-" * max(self._lists, 1) + " ")
            self._is_new_line, self._is_new_item = False, True
        else:
            self._break(tag)
            self._lists += tag in self.LISTS
            self._pres += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        """End a line, or show where a link leads unless its text does."""
        self._silent = False
        if tag != "a":
            self._lists -= tag in self.LISTS and self._lists > 0
            self._pres -= tag == "pre" and self._pres > 0
            self._is_new_item &= tag != "li"
            self._break(tag)
            return
        (target, start), self._link = self._link, ("", 0)
        kind, _, rest = target.partition(":") if ":" in target else ("", "", target)
        if (kind in {"http", "https", "mailto", "tel"} or target.startswith(OPEN)) and rest not in "".join(
            self.pieces[start:]
        ):
            self._say(f" ({target})")

    def handle_data(self, data: str) -> None:
        """Take text; how it is broken into lines means nothing, but in `pre`."""
        first, *more = data.split("\n") if self._pres else [data]
        self._say(first)
        for line in more:
            self._end_line()
            self._say(line)

    def parse_marked_section(self, i: int, report: bool = True) -> int:  # noqa: ARG002  # the parser's
        """Pass over `<![…`: the parser itself raises an AssertionError for what Outlook never wrote."""
        end = self.rawdata.find(">", i)
        return end + 1 if end >= 0 else -1

    def _say(self, text: str) -> None:
        if self._silent:
            return
        text = re.sub(r"\s+", " ", text)
        self.pieces.append(text)
        if text.strip():
            self._is_new_line = self._is_new_item = False

    def _break(self, tag: str) -> None:
        if self._is_new_item:
            return  # what the item says begins behind its mark
        if tag in self.PARAGRAPHS and not (self._lists and tag in self.LISTS):
            self.pieces.append("\n")
            self._end_line()
        elif tag in self.LINES | self.LISTS and not self._is_new_line:
            self._end_line()

    def _end_line(self) -> None:
        if not self._silent:
            self.pieces.append("\n")
            self._is_new_line = True
